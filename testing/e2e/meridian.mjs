// A Meridian of this test alone: its own data directory, a free port, real Docker, and nothing left behind.
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const executable =
  process.env.MERIDIAN_EXECUTABLE ?? fileURLToPath(new URL('../../target/release/meridian', import.meta.url));

export const password = 'a password for the tests';

/** Calls `check` until it gives something true; fails with the last thing seen. */
export async function waitFor(what, limitMs, check) {
  const until = Date.now() + limitMs;
  let last;
  for (;;) {
    try {
      last = await check();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > until) throw new Error(`waited ${limitMs} ms for ${what}; last seen: ${last}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export class Meridian {
  constructor(data, options) {
    this.data = data;
    this.options = options;
    this.log = [];
  }

  static async make(options = []) {
    return new Meridian(await mkdtemp(join(tmpdir(), 'meridian-e2e-')), options);
  }

  /** Starts it and waits for its `ready URL`. */
  async start() {
    this.process = spawn(executable, ['up', '--listen', '127.0.0.1:0', ...this.options], {
      env: { ...process.env, MERIDIAN_DATA: this.data, MERIDIAN_ADMIN_PASSWORD: password },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.exited = new Promise((resolve) => this.process.once('exit', (code, signal) => resolve({ code, signal })));
    createInterface({ input: this.process.stderr }).on('line', (line) => {
      this.log.push(line);
      if (this.log.length > 2000) this.log.shift();
    });
    const ready = new Promise((resolve) => {
      createInterface({ input: this.process.stdout }).on('line', (line) => {
        if (line.startsWith('ready ')) resolve(line.slice(6));
      });
    });
    const ended = this.exited.then((how) => {
      throw new Error(`meridian ended: ${JSON.stringify(how)}\n${this.log.join('\n')}`);
    });
    ended.catch(() => {});
    this.url = await Promise.race([ready, ended, timeLimit(90_000, () => this.log.join('\n'))]);
  }

  /** As Ctrl-C does; gives how it ended. */
  async stop(signal = 'SIGINT') {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return this.exited;
    this.process.kill(signal);
    return Promise.race([this.exited, timeLimit(60_000, () => this.log.join('\n'))]);
  }

  async call(method, path, body, token = this.token) {
    const answer = await fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: {
        ...(body ? { 'content-type': 'application/json' } : {}),
        ...(token ? { authorization: `Bearer ${token}` } : {}),
      },
      body: body ? JSON.stringify(body) : undefined,
    });
    const text = await answer.text();
    return { status: answer.status, body: text ? JSON.parse(text) : null };
  }

  async signIn() {
    const login = await this.call('POST', '/auth/login', { username: 'admin', password }, null);
    if (login.status !== 200) throw new Error(JSON.stringify(login));
    this.token = login.body.token;
  }

  /** Ids of the containers of a session, running or not. */
  async containers(session) {
    const filter = session ? `label=dev.meridian.session=${session}` : `label=dev.meridian.deployment=${await this.deployment()}`;
    const { stdout } = await run('docker', ['ps', '--all', '--quiet', '--no-trunc', '--filter', filter]);
    return stdout.split('\n').filter(Boolean);
  }

  /** Reads or does something inside a session's container. */
  async inside(session, ...command) {
    const [container] = await this.containers(session);
    const { stdout } = await run('docker', ['exec', container, ...command]);
    return stdout;
  }

  async deployment() {
    const node = JSON.parse(await readFile(join(this.data, 'nodes/agent-london-1/node.json'), 'utf8'));
    return node.deployment_id;
  }

  /** Removes what a failed test may have left, and says what it was. */
  async cleanUp() {
    const left = await this.containers().catch(() => []);
    await this.stop();
    for (const container of left) await run('docker', ['rm', '--force', container]).catch(() => {});
    await rm(this.data, { recursive: true, force: true });
    return left;
  }
}

function timeLimit(ms, describe) {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`nothing happened for ${ms} ms\n${describe()}`)), ms).unref();
  });
}
