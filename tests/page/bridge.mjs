// The real binary as a child process, and deliveries that its sources take.

import { execFileSync, spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { join } from "node:path";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const BINARY = process.env.FANBRIDGE_BINARY ?? join(ROOT, "target/debug/fanbridge");
const SECRET = "stream-signing-secret-for-tests-0001";
const START_DEADLINE_MS = 30_000;

/** Waits until `look` returns something; `what` is what did not become so. */
export async function until(what, look, deadline = 15_000) {
  const end = Date.now() + deadline;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`${what}: not within ${deadline} ms`);
    await pause(50);
  }
}

export const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

function freePort() {
  return new Promise((done, failed) => {
    const server = createServer().once("error", failed);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

/** A directory, two ports, and the bridge that lives there. */
export class Home {
  static async new() {
    const home = new Home();
    home.dir = mkdtempSync(join(process.env.FANBRIDGE_TEST_DIR ?? join(ROOT, "target"), "page-"));
    [home.http, home.admin] = [await freePort(), await freePort()];
    home.origin = `http://127.0.0.1:${home.admin}`;
    return home;
  }

  path(name) {
    return join(this.dir, name);
  }

  /** Writes a configuration: a source of Stream, and what the test adds; a file sink `lake` unless `sinks` are given. */
  configure({
    source = "",
    more = "",
    admin = "",
    sinks = `  lake: { file: { dir: ${this.path("topics")} } }\n`,
  } = {}) {
    const text =
      `http: { listen: 127.0.0.1:${this.http} }\n` +
      `admin: { listen: 127.0.0.1:${this.admin}, ${admin} }\n` +
      `spool: { dir: ${this.path("spool")}, free_bytes_min: 0 }\n` +
      `sources:\n  stream-video: { provider: stream, secrets: [env:STREAM_SECRET] }\n${source}` +
      `sinks:\n${sinks}${more}`;
    writeFileSync(this.path("fanbridge.yaml"), text);
  }

  async start() {
    const log = openSync(this.path("log"), "a");
    this.child = spawn(BINARY, ["run", "--config", this.path("fanbridge.yaml")], {
      cwd: this.dir,
      stdio: ["ignore", log, log],
      env: { ...process.env, STREAM_SECRET: SECRET, ADMIN_TOKEN: "a-token-of-the-tests-0001" },
    });
    this.ended = new Promise((done) => this.child.once("exit", done));
    this.child.once("error", (error) => appendFileSync(this.path("log"), `${error}\n`));
    await until(
      "the bridge is ready",
      async () => {
        if (this.child.exitCode !== null) throw new Error(`the bridge ended: ${this.log()}`);
        return fetch(`${this.origin}/readyz`).then(
          (answer) => answer.ok,
          () => false,
        );
      },
      START_DEADLINE_MS,
    );
  }

  /** What another verb prints with this configuration. */
  verb(...words) {
    const options = { cwd: this.dir, encoding: "utf8", env: { ...process.env, STREAM_SECRET: SECRET } };
    return execFileSync(BINARY, [...words, "--config", this.path("fanbridge.yaml")], options);
  }

  log() {
    if (!existsSync(this.path("log"))) return "";
    return readFileSync(this.path("log"), "utf8").slice(-4000);
  }

  async stop() {
    this.child?.kill("SIGTERM");
    await this.ended;
  }

  async end() {
    this.child?.kill("SIGKILL");
    await this.ended;
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Delivers a body with its signature, as Stream would; the answer's status. */
  async deliver(body, headers = {}, source = "stream-video") {
    const bytes = typeof body === "string" ? body : JSON.stringify(body);
    const signature = createHmac("sha256", SECRET).update(bytes).digest("hex");
    const answer = await fetch(`http://127.0.0.1:${this.http}/in/${source}`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-signature": signature, ...headers },
      body: bytes,
    });
    await answer.arrayBuffer();
    return answer.status;
  }

  /** Delivers so many events of a type, a few at once. */
  async deliverMany(type, number, from = 0) {
    const next = Array.from({ length: number }, (_, index) => event(type, from + index));
    const worker = async () => {
      for (let body = next.pop(); body; body = next.pop()) {
        const status = await this.deliver(body);
        if (status !== 200) throw new Error(`a delivery was answered ${status}`);
      }
    };
    await Promise.all(Array.from({ length: 8 }, worker));
  }
}

/** An event of Stream, like no other one. */
export function event(type, number) {
  const at = new Date(Date.UTC(2026, 0, 1) + number * 1000).toISOString();
  return { type, created_at: at, call_cid: `default:call-${number % 17}`, number };
}
