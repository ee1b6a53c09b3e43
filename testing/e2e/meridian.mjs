// A Meridian of this test alone: its own data directory, a free port, real Docker, and nothing left behind.
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import WebSocket from 'ws';

const run = promisify(execFile);
export const executable =
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
    /** Another user to run as: `uid`, `gid` and the `executable` where that user can reach it. */
    this.as = {};
    this.log = [];
  }

  static async make(options = []) {
    return new Meridian(await mkdtemp(join(tmpdir(), 'meridian-e2e-')), options);
  }

  /** Starts it and waits for its `ready URL`. */
  async start() {
    const { executable: reachable = executable, ...user } = this.as;
    this.process = spawn(reachable, ['up', '--listen', '127.0.0.1:0', ...this.options], {
      env: { ...process.env, MERIDIAN_DATA: this.data, MERIDIAN_ADMIN_PASSWORD: password },
      stdio: ['ignore', 'pipe', 'pipe'],
      ...user,
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

  async call(method, path, body, token = this.token, headers = {}) {
    const answer = await fetch(`${this.url}/api/v1${path}`, {
      method,
      signal: AbortSignal.timeout(60_000),
      headers: {
        ...headers,
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

  async workspace(name) {
    const { body } = await this.call('GET', '/workspaces');
    return body.items.find((workspace) => workspace.name === name).id;
  }

  /** Launches a workspace; the whole answer. */
  async launch(name, zone, headers) {
    return this.call('POST', '/sessions', { workspace_id: await this.workspace(name), ...(zone ? { zone } : {}) }, this.token, headers);
  }

  /** Waits until a session is in one of the states; the session. */
  async reaches(session, states, limitMs = 30_000) {
    return waitFor(`session ${session} to be ${states}`, limitMs, async () => {
      const { status, body } = await this.call('GET', `/sessions/${session}`);
      if (states.includes(body?.state)) return body;
      // Another lasting state will not change by waiting.
      throw new Error(JSON.stringify({ status, state: body?.state, progress: body?.progress, reason: body?.reason, error: body?.error }));
    });
  }

  /** Launches and waits for the workspace to run; its session's id. */
  async running(name, zone) {
    const { status, body } = await this.launch(name, zone);
    if (status !== 201) throw new Error(JSON.stringify(body));
    await this.reaches(body.id, ['running'], 60_000);
    return body.id;
  }

  /** Address and subprotocols for a plain RFB stream of a session. */
  async connect(session, token = this.token) {
    const { status, body } = await this.call('POST', `/sessions/${session}/connect`, { transport: 'binary' }, token);
    if (status !== 200) throw new Error(JSON.stringify(body));
    return body;
  }

  async stream(session) {
    return Stream.open(await this.connect(session));
  }

  /** A stream after something on its way died: as a viewer does, each try with a new ticket. */
  async streamAgain(session) {
    return waitFor('a new stream', 30_000, () => this.stream(session));
  }

  /** Ends a session and waits until nothing is left of it. */
  async end(session) {
    await this.call('DELETE', `/sessions/${session}`);
    await this.reaches(session, ['ended']);
    await waitFor('the container to be gone', 30_000, async () => (await this.containers(session)).length === 0);
  }

  /** The process of a role that has one of its own. */
  async pid(name) {
    return Number(await readFile(join(this.data, 'run', `${name}.pid`), 'utf8'));
  }

  /** Names of the roles with a process of their own, by their pid files. */
  async roles() {
    const files = await readdir(join(this.data, 'run')).catch(() => []);
    return files.filter((file) => file.endsWith('.pid')).map((file) => file.slice(0, -4)).sort();
  }

  /** Kills a role's process and waits for the one that takes its place. */
  async replaced(name) {
    const before = await this.pid(name);
    process.kill(before, 'SIGKILL');
    return waitFor(`${name} to be started again`, 20_000, async () => {
      const now = await this.pid(name);
      return now !== before && isAlive(now) && now;
    });
  }

  /** The process of the embedded PostgreSQL; undefined when none runs. */
  async database() {
    const text = await readFile(join(this.data, 'postgres/cluster/postmaster.pid'), 'utf8').catch(() => '');
    const pid = Number(text.split('\n', 1)[0]);
    return pid && isAlive(pid) ? pid : undefined;
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

  /** Removes what a failed test may have left, and says what containers it were. */
  async cleanUp() {
    if (this.process) {
      await this.stop().catch(() => this.process.kill('SIGKILL'));
      await this.exited;
    }
    // After a kill -9 of it all, its children and its database are still there.
    const pids = await Promise.all((await this.roles()).map((name) => this.pid(name)));
    for (const pid of [...pids, await this.database()]) {
      if (pid && (await commandLine(pid)).includes(this.data)) await endProcess(pid);
    }
    // Not before nobody is there who could be about to make one more.
    const left = await this.containers().catch(() => []);
    for (const container of left) await this.removeContainer(container);
    await this.removeRunDirectories();
    await rm(this.data, { recursive: true, force: true });
    return left;
  }

  /** With the home, which Meridian itself would have removed too. */
  async removeContainer(container) {
    const format = '{{index .Config.Labels "dev.meridian.session"}}';
    const { stdout } = await run('docker', ['inspect', '--format', format, container]).catch(() => ({ stdout: '' }));
    await run('docker', ['rm', '--force', container]).catch(() => {});
    if (stdout.trim()) await run('docker', ['volume', 'rm', '--force', `meridian-${stdout.trim()}`]).catch(() => {});
  }

  /** The folders in which its agents met their workspaces. */
  async removeRunDirectories() {
    const nodes = join(this.data, 'nodes');
    for (const name of (await readdir(nodes).catch(() => [])).filter((name) => name.startsWith('agent-'))) {
      const text = await readFile(join(nodes, name, 'node.json'), 'utf8').catch(() => undefined);
      if (!text) continue;
      const { deployment_id: deployment, node_id: agent } = JSON.parse(text);
      const folder = join('/run/meridian', createHash('sha256').update(`${deployment}/${agent}`).digest('hex').slice(0, 10));
      for (const line of (await readFile('/proc/mounts', 'utf8')).split('\n')) {
        const [, place] = line.split(' ');
        if (place?.startsWith(`${folder}/`)) await run('umount', [place]).catch(() => {});
      }
      await rm(folder, { recursive: true, force: true }).catch(() => {});
    }
  }
}

/** A stream was not opened: the HTTP answer says why. */
export class Refused extends Error {
  constructor(status, text) {
    super(`${status} ${text}`);
    this.status = status;
    try {
      this.error = JSON.parse(text).error;
    } catch {
      this.error = undefined;
    }
  }
}

/** A viewer of plain RFB 3.8 over a WebSocket. */
export class Stream {
  chunks = Buffer.alloc(0);
  received = 0;
  closed = undefined;
  waiting = () => {};

  /** Opens the stream that a connect call described, or fails with [`Refused`]. */
  static async open({ url, protocols }, { origin } = {}) {
    const socket = new WebSocket(url, protocols, { origin, perMessageDeflate: false, handshakeTimeout: 30_000 });
    const stream = new Stream();
    stream.socket = socket;
    socket.on('message', (data) => {
      stream.chunks = Buffer.concat([stream.chunks, data]);
      stream.received += data.length;
      stream.waiting();
    });
    socket.on('close', (code, reason) => {
      stream.closed = { code, reason: reason.toString() };
      stream.waiting();
    });
    socket.on('upgrade', (answer) => { stream.answer = answer; });
    await new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.on('error', reject);
      socket.once('unexpected-response', async (request, answer) => {
        let text = '';
        for await (const piece of answer.setEncoding('utf8')) text += piece;
        request.destroy();
        reject(new Refused(answer.statusCode, text));
      });
    });
    return stream;
  }

  /** The next bytes, exactly so many. */
  async read(length, limitMs = 15_000) {
    const until = Date.now() + limitMs;
    while (this.chunks.length < length) {
      if (this.closed) throw new Error(`the stream was closed: ${JSON.stringify(this.closed)}`);
      if (Date.now() > until) throw new Error(`no ${length} bytes within ${limitMs} ms, but ${this.chunks.length}`);
      await Promise.race([
        new Promise((resolve) => { this.waiting = resolve; }),
        new Promise((resolve) => setTimeout(resolve, Math.max(1, until - Date.now())).unref()),
      ]);
    }
    const taken = this.chunks.subarray(0, length);
    this.chunks = this.chunks.subarray(length);
    return taken;
  }

  /** The handshake of RFB 3.8 with security type None; the desktop's size and name. */
  async handshake() {
    const version = (await this.read(12)).toString('latin1');
    if (version !== 'RFB 003.008\n') throw new Error(`not RFB 3.8: ${JSON.stringify(version)}`);
    this.socket.send(Buffer.from(version, 'latin1'));
    const types = [...(await this.read((await this.read(1))[0]))];
    if (types.length !== 1 || types[0] !== 1) throw new Error(`security types ${types}, not None alone`);
    this.socket.send(Buffer.from([1]));
    const result = (await this.read(4)).readUInt32BE();
    if (result !== 0) throw new Error(`security result ${result}`);
    this.socket.send(Buffer.from([1]));
    const init = await this.read(24);
    this.width = init.readUInt16BE(0);
    this.height = init.readUInt16BE(2);
    this.bytesPerPixel = init[4] / 8;
    this.name = (await this.read(init.readUInt32BE(20))).toString('utf8');
    this.socket.send(Buffer.from([2, 0, 0, 1, 0, 0, 0, 0]));
    return this;
  }

  /** Asks for a part of the picture, as it is now, and reads it; how many bytes of pixels came. */
  async frame(width = 64, height = 64) {
    const ask = Buffer.alloc(10);
    ask[0] = 3;
    ask.writeUInt16BE(width, 6);
    ask.writeUInt16BE(height, 8);
    this.socket.send(ask);
    const head = await this.read(4);
    if (head[0] !== 0) throw new Error(`message ${head[0]} instead of a FramebufferUpdate`);
    let pixels = 0;
    for (let left = head.readUInt16BE(2); left > 0; left -= 1) {
      const rectangle = await this.read(12);
      const encoding = rectangle.readInt32BE(8);
      if (encoding !== 0) throw new Error(`a rectangle of encoding ${encoding}, which was not asked for`);
      const length = rectangle.readUInt16BE(4) * rectangle.readUInt16BE(6) * this.bytesPerPixel;
      await this.read(length);
      pixels += length;
    }
    return pixels;
  }

  /** Presses and releases keys, by their keysyms. */
  press(...keysyms) {
    for (const keysym of keysyms) {
      for (const down of [1, 0]) {
        const key = Buffer.alloc(8);
        key[0] = 4;
        key[1] = down;
        key.writeUInt32BE(keysym, 4);
        this.socket.send(key);
      }
    }
  }

  /** Types a line of plain text. */
  type(text) {
    this.press(...[...text].map((letter) => letter.codePointAt(0)), 0xff0d);
  }

  async ended(limitMs = 15_000) {
    await waitFor('the stream to end', limitMs, () => this.closed);
    return this.closed;
  }

  async close() {
    if (this.closed) return;
    this.socket.close();
    this.socket.terminate();
    if (!this.closed) await once(this.socket, 'close');
  }
}

/** The refusal that opening a stream meets. */
export async function refusal(opening) {
  try {
    const stream = await opening;
    await stream.close();
  } catch (error) {
    if (error instanceof Refused) return error;
    throw error;
  }
  throw new Error('the stream was opened');
}

/** Makes steps of one story: each stands on those before, so that after a failure the rest are skipped and say so. */
export function sequence(log) {
  let broken = false;
  return (name, timeout, body) =>
    test(name, { timeout }, async (t) => {
      if (broken) return t.skip('an earlier step failed');
      // Stays so when the step's time is over before it ends.
      broken = true;
      try {
        await body();
        broken = false;
      } catch (error) {
        console.error(log().slice(-30).join('\n'));
        throw error;
      }
    });
}

/** Runs `meridian up` where it is to fail at once: exit code and what it said. */
export async function failsToStart(data, ...options) {
  const child = spawn(executable, ['up', ...options], {
    env: { ...process.env, MERIDIAN_DATA: data, MERIDIAN_ADMIN_PASSWORD: password },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text) => { said += text; });
  const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
  const [code] = await once(child, 'close');
  clearTimeout(timer);
  return { code, said };
}

/** Whether a process is there and not only waiting for its parent to notice its end. */
export async function isRunning(pid) {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat !== '' && !['Z', 'X'].includes(stat.slice(stat.lastIndexOf(')') + 2)[0]);
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

async function commandLine(pid) {
  return (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).replaceAll('\0', ' ');
}

/** Ends a process softly, then hard. */
async function endProcess(pid) {
  for (const signal of ['SIGINT', 'SIGKILL']) {
    if (!(await isRunning(pid))) return;
    process.kill(pid, signal);
    await waitFor('a process to end', 10_000, async () => !(await isRunning(pid))).catch(() => {});
  }
}

function timeLimit(ms, describe) {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`nothing happened for ${ms} ms\n${describe()}`)), ms).unref();
  });
}
