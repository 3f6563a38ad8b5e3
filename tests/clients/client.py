"""Python's own client over TLS. Reads the cases from standard input, prints a line for each answer."""
import http.client
import ssl
import sys

folder, cases = sys.argv[1], int(sys.argv[2])


def tell(path, *fields):
    print(path, *(str(field).replace("\t", " ").replace("\n", " ") for field in fields), sep="\t", flush=True)


def connect(port, version, who):
    context = ssl.create_default_context(cafile=folder + "/ca.crt")
    context.minimum_version = context.maximum_version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    if who != "-":
        context.load_cert_chain(f"{folder}/clients/{who}.crt", f"{folder}/clients/{who}.key")
    return http.client.HTTPSConnection("localhost", int(port), context=context, timeout=20)


def answer(path, connection):
    got = connection.getresponse()
    tell(path, got.status, got.headers["Content-Type"], got.read().decode())


def upload(path, connection):
    try:
        connection.request("POST", path, body=b"x" * (8 << 20))
    except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
        # The gateway had its say, and http.client has to be told that it may be read.
        connection._HTTPConnection__state = http.client._CS_REQ_SENT
    answer(path, connection)


for _ in range(cases):
    path, port, version, _, who, what = sys.stdin.readline().rstrip("\n").split("\t")
    try:
        connection = connect(port, version, who)
        if what == "Upload":
            upload(path, connection)
        else:
            for each in [path, path + "/again"] if what == "Twice" else [path]:
                connection.request("GET", each)
                answer(path, connection)
        connection.close()
    except Exception as error:
        tell(path, "failed", repr(error))
