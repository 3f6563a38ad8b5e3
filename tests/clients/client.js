// Node's clients, https and http2. Reads the cases from standard input, prints a line for each answer.
const fs = require("node:fs");
const http2 = require("node:http2");
const https = require("node:https");
const readline = require("node:readline");
const tls = require("node:tls");

const [folder, password, count] = process.argv.slice(2);
const UPLOAD = Buffer.alloc(8 << 20, "x");

function tell(path, ...fields) {
  const text = fields.map((field) => String(field).replace(/[\t\n]/g, " "));
  process.stdout.write([path, ...text].join("\t") + "\n");
}

const contexts = new Map();

// HTTP/2 with the PKCS#12 file, HTTP/1.1 with PEM. Such a file takes long to open on purpose, so each is opened once.
function settings(version, http, who) {
  const name = [version, http === "2" ? "pfx" : "pem", who].join();
  if (!contexts.has(name)) contexts.set(name, tls.createSecureContext(files(version, http, who)));
  return { secureContext: contexts.get(name), minVersion: `TLSv${version}`, maxVersion: `TLSv${version}` };
}

function files(version, http, who) {
  const made = { ca: fs.readFileSync(`${folder}/ca.crt`), minVersion: `TLSv${version}`, maxVersion: `TLSv${version}` };
  if (who === "-") return made;
  if (http === "2") return { ...made, pfx: fs.readFileSync(`${folder}/clients/${who}.p12`), passphrase: password };
  return { ...made, cert: fs.readFileSync(`${folder}/clients/${who}.crt`), key: fs.readFileSync(`${folder}/clients/${who}.key`) };
}

function collect(stream) {
  return new Promise((resolve, reject) => {
    let body = "";
    stream.setEncoding("utf8");
    stream.on("data", (text) => (body += text));
    stream.on("end", () => resolve(body));
    stream.on("error", reject);
  });
}

function over1(port, path, agent, what) {
  return new Promise((resolve, reject) => {
    const method = what === "Upload" ? "POST" : "GET";
    const headers = what === "Upload" ? { "Content-Length": UPLOAD.length } : {};
    let answered = false;
    const request = https.request({ host: "localhost", port, path, method, headers, agent, timeout: 20000 }, async (answer) => {
      answered = true;
      resolve([answer.statusCode, answer.headers["content-type"], await collect(answer)]);
    });
    request.on("timeout", () => request.destroy(new Error("timed out")));
    // An error of writing after the answer is no news.
    request.on("error", (error) => answered || reject(error));
    request.end(what === "Upload" ? UPLOAD : undefined);
  });
}

function over2(session, path, what) {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ":path": path, ":method": what === "Upload" ? "POST" : "GET" }, { endStream: what !== "Upload" });
    let head;
    let body = "";
    stream.setEncoding("utf8");
    stream.setTimeout(20000, () => stream.destroy(new Error("timed out")));
    stream.on("response", (headers) => (head = headers));
    stream.on("data", (text) => (body += text));
    stream.on("end", () => head && resolve([head[":status"], head["content-type"], body]));
    stream.on("error", reject);
    stream.on("close", () => reject(new Error("the stream was closed")));
    session.on("error", reject);
    if (what === "Upload") stream.end(UPLOAD);
  });
}

async function one(line) {
  const [path, port, version, http, who, what] = line.split("\t");
  const paths = what === "Twice" ? [path, path + "/again"] : [path];
  try {
    if (http === "1") {
      const agent = new https.Agent({ ...settings(version, http, who), keepAlive: true, maxSockets: 1, ALPNProtocols: ["http/1.1"] });
      for (const each of paths) tell(path, ...(await over1(port, each, agent, what)));
      agent.destroy();
    } else {
      const session = http2.connect(`https://localhost:${port}`, settings(version, http, who));
      session.on("error", () => {});
      for (const each of paths) tell(path, ...(await over2(session, each, what)));
      session.destroy();
    }
  } catch (error) {
    tell(path, "failed", error.code, error.message);
  }
}

async function main() {
  let left = Number(count);
  for await (const line of readline.createInterface({ input: process.stdin })) {
    await one(line);
    if (--left === 0) break;
  }
  process.exit(0);
}

main();
