"""Holds docs/deployment.md and its JSON files against the published models of the AWS services.

The models come with botocore (`pip install botocore`), the library below the AWS CLI; no network is used and no account
needed. Every `aws ...` command in the documentation is looked at: the service and the operation exist, each option is a
member of the operation's input, what is required is there, and a file given to --cli-input-json is a valid input as a
whole: unknown keys, wrong types and missing members are told.

    python3 tests/deployment/validate.py [ROOT]

Exit code 0: all is well; 1: findings, one for each line; 3: botocore is missing.
"""

import json
import pathlib
import re
import shlex
import sys

try:
    import botocore
    import botocore.session
    from botocore import xform_name
    from botocore.exceptions import UnknownServiceError
    from botocore.validate import ParamValidator
except ImportError as error:
    print(f"botocore is missing: {error}")
    sys.exit(3)

DOCUMENT = "docs/deployment.md"
EXAMPLES = "examples/ecs"

# Options that every command has, and those that the AWS CLI makes of a member itself.
GLOBAL = {"query", "output", "region", "profile", "no-cli-pager"}
OF_THE_CLI = {("ec2", "authorize-security-group-ingress"): {"protocol", "port", "cidr", "source-group"}}
# Commands that the AWS CLI has beside the services' operations.
WITHOUT_OPERATION = {("ecr", "get-login-password"), ("logs", "tail")}


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    session = botocore.session.get_session()
    findings, inputs, documents = [], set(), set()
    commands = list(aws_commands((root / DOCUMENT).read_text()))
    for line, words in commands:
        for finding in check_command(session, root, words, inputs, documents):
            findings.append(f"{DOCUMENT}:{line}: {finding}")
    for path in sorted((root / EXAMPLES).iterdir()):
        name = f"{EXAMPLES}/{path.name}"
        if name in documents:
            findings += [f"{name}: {finding}" for finding in check_policy(path)]
        elif name not in inputs:
            findings.append(f"{name}: no command in {DOCUMENT} takes it")
    for finding in findings:
        print(finding)
    if not commands or not inputs:
        print(f"nothing was checked: {len(commands)} commands, {len(inputs)} inputs")
        return 1
    print(
        f"botocore {botocore.__version__}: {len(commands)} commands, {len(inputs)} inputs,"
        f" {len(documents)} policies, {len(findings)} findings"
    )
    return 1 if findings else 0


def aws_commands(text):
    """Line number and words of each `aws ...` in a fenced block; a backslash at the end of a line goes on."""
    fenced, command, begun = False, "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
            continue
        if not fenced:
            continue
        if not command:
            if not line.startswith("aws "):
                continue
            begun = number
        command += line.rstrip("\\")
        if not line.endswith("\\"):
            yield begun, shlex.split(re.split(r"\s\|\s", command)[0])[1:]
            command = ""


def check_command(session, root, words, inputs, documents):
    service, operation, *rest = words
    if (service, operation) in WITHOUT_OPERATION:
        return
    try:
        model = session.get_service_model(service)
    except UnknownServiceError:
        yield f"there is no service {service}"
        return
    if operation == "wait":
        waiter, *rest = rest
        waiters = {xform_name(name, "-"): name for name in session.get_waiter_model(service).waiter_names}
        if waiter not in waiters:
            yield f"{service} has no waiter {waiter}"
            return
        name = session.get_waiter_model(service).get_waiter(waiters[waiter]).operation
    else:
        operations = {xform_name(name, "-"): name for name in model.operation_names}
        if operation not in operations:
            yield f"{service} has no operation {operation}"
            return
        name = operations[operation]
    shape = model.operation_model(name).input_shape
    members = {xform_name(member, "-"): member for member in shape.members}
    allowed = GLOBAL | OF_THE_CLI.get((service, operation), set())
    given, whole = set(), False
    for option, values in options(rest):
        if option is None:
            yield f"{values[0]} belongs to no option"
        elif option == "cli-input-json":
            whole = True
            path = file_of(values)
            inputs.add(path)
            yield from check_input(shape, root / path, path)
        elif option in members:
            given.add(members[option])
            if (path := file_of(values)) and path.startswith(EXAMPLES):
                documents.add(path)
        elif option.removeprefix("no-") in members:
            given.add(members[option.removeprefix("no-")])
        elif option not in allowed:
            yield f"{service} {operation} has no option --{option}"
    missing = sorted(set(shape.required_members) - given)
    if missing and not whole:
        yield f"{service} {operation} needs {', '.join(missing)}"


def options(words):
    """Each option with its values; a value without an option comes with None."""
    found = []
    for word in words:
        if word.startswith("--"):
            found.append((word[2:], []))
        elif found:
            found[-1][1].append(word)
        else:
            found.append((None, [word]))
    return found


def file_of(values):
    return values[0].removeprefix("file://") if values and values[0].startswith("file://") else ""


def check_input(shape, path, name):
    try:
        value = json.loads(path.read_text(), object_pairs_hook=no_key_twice)
    except (OSError, ValueError) as error:
        yield f"{name}: {error}"
        return
    report = ParamValidator().validate(value, shape)
    if report.has_errors():
        yield from (f"{name}: {line}" for line in report.generate_report().splitlines())
    yield from (f"{name}: {finding}" for finding in outside_enums(value, shape, "input"))


def outside_enums(value, shape, place):
    """What ParamValidator leaves to the service: texts that are none of the words a model lists."""
    if shape.type_name == "structure" and isinstance(value, dict):
        for key, inner in value.items():
            if key in shape.members:
                yield from outside_enums(inner, shape.members[key], f"{place}.{key}")
    elif shape.type_name == "list" and isinstance(value, list):
        for index, inner in enumerate(value):
            yield from outside_enums(inner, shape.member, f"{place}[{index}]")
    elif shape.type_name == "map" and isinstance(value, dict):
        for key, inner in value.items():
            yield from outside_enums(inner, shape.value, f"{place}.{key}")
    elif getattr(shape, "enum", None) and value not in shape.enum:
        yield f"{place}: {value!r} is none of {', '.join(shape.enum)}"


def check_policy(path):
    """IAM takes policies as text: no model says what is in them, so the few keys used here are listed."""
    try:
        policy = json.loads(path.read_text(), object_pairs_hook=no_key_twice)
    except (OSError, ValueError) as error:
        yield str(error)
        return
    if set(policy) != {"Version", "Statement"} or policy["Version"] != "2012-10-17":
        yield "a policy is Version 2012-10-17 and Statement"
        return
    for statement in policy["Statement"]:
        unknown = set(statement) - {"Effect", "Action", "Resource", "Principal"}
        if unknown or not {"Effect", "Action"} <= set(statement):
            yield f"a statement with {', '.join(sorted(statement))}"


def no_key_twice(pairs):
    keys = [key for key, _ in pairs]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise ValueError(f"twice: {', '.join(sorted(twice))}")
    return dict(pairs)


sys.exit(main())
