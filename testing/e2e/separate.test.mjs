// Every role a process of its own: each is killed under live streams, and nothing is lost. Real Docker, no browser: the viewer
// here is a plain VNC client.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { promisify } from 'node:util';
import { Meridian, Stream, isRunning, refusal, sequence, waitFor } from './meridian.mjs';

const run = promisify(execFile);
const zones = ['london', 'virginia'];
const webNodes = ['web-primary-1', 'web-primary-2'];
const step = sequence(() => meridian.log);
let meridian, engine;

before(async () => {
  meridian = await Meridian.make(['--separate']);
  await meridian.start();
  await meridian.signIn();
}, { timeout: 120_000 });

after(async () => {
  await meridian?.cleanUp();
  engine?.close();
}, { timeout: 120_000 });

const sessions = {};
const streams = {};

/** Two pictures: the stream is not only open, bytes flow on it. */
async function flows(stream) {
  for (let frame = 0; frame < 2; frame += 1) assert.equal(await stream.frame(), 64 * 64 * 4);
}

const started = async (container) => (await run('docker', ['inspect', '--format', '{{.Id}} {{.State.StartedAt}}', container])).stdout;

step('each role has a process and a pid file of its own', 20_000, async () => {
  const expected = zones.flatMap((zone) =>
    ['agent', 'balance', 'proxy'].flatMap((role) => (role === 'agent' ? [1] : [1, 2]).map((number) => `${role}-${zone}-${number}`)));
  assert.deepEqual(await meridian.roles(), [...expected, 'balance-primary-1', ...webNodes].sort());
  for (const name of await meridian.roles()) {
    const command = await readFile(`/proc/${await meridian.pid(name)}/cmdline`, 'utf8');
    const [, role] = command.split('\0');
    assert.equal(role, name.split('-')[0]);
    assert.ok(command.includes(`${name}.toml`), command);
  }
});

step('a plain VNC client sees a workspace in each zone', 90_000, async () => {
  for (const zone of zones) {
    sessions[zone] = await meridian.running('Terminal', zone);
    const { body } = await meridian.call('GET', `/sessions/${sessions[zone]}`);
    assert.deepEqual([body.zone, body.agent], [zone, `agent-${zone}-1`]);

    const connection = await meridian.connect(sessions[zone]);
    const ticket = connection.protocols[1];
    assert.ok(connection.url.endsWith(`/desktop-${zone}/${sessions[zone]}/stream`), connection.url);
    assert.ok(!connection.url.includes(ticket.slice(-40)), 'no ticket in the address');
    const stream = await Stream.open(connection, { origin: meridian.url });
    assert.equal(stream.answer.headers['sec-websocket-protocol'], 'binary');
    assert.ok(!stream.answer.rawHeaders.join('\n').includes(ticket.slice(-40)), 'the answer does not echo the ticket');
    await stream.handshake();
    assert.ok(stream.width >= 640 && stream.height >= 480, `${stream.width}x${stream.height}`);
    await flows(stream);
    streams[zone] = stream;
  }
});

step('a ticket opens one stream, of its session, in its zone, from the right page', 30_000, async () => {
  const connection = await meridian.connect(sessions.london);
  const refused = async (change, page) => {
    const { status, error } = await refusal(Stream.open({ ...connection, ...change }, page));
    assert.ok(error.message && error.hop && error.request_id, JSON.stringify(error));
    return `${status} ${error.code}`;
  };
  const { url, protocols } = connection;
  assert.equal(await refused({}, { origin: 'http://elsewhere.example' }), '403 origin_forbidden');
  assert.equal(await refused({ url: url.replace('desktop-london', 'desktop-virginia') }), '403 ticket_foreign_zone');
  assert.equal(await refused({ url: url.replace(sessions.london, sessions.virginia) }), '403 ticket_other_session');
  const [transport, ticket] = protocols;
  const middle = ticket.lastIndexOf('.') + 10;
  const forged = ticket.slice(0, middle) + (ticket[middle] === 'A' ? 'B' : 'A') + ticket.slice(middle + 1);
  assert.equal(await refused({ protocols: [transport, forged] }), '401 ticket_invalid');
  // What was refused used nothing up.
  const stream = await Stream.open(connection);
  await flows(await stream.handshake());
  assert.equal(await refused({}), '409 ticket_used');
  await flows(stream);
  await stream.close();
});

step('kill -9 of a proxy: its zone opens streams through the other, and no other stream notices', 60_000, async () => {
  const opened = await Promise.all([1, 2, 3, 4].map(() => meridian.stream(sessions.london)));
  await Promise.all(opened.map((stream) => stream.handshake()));
  const dead = await meridian.pid('proxy-london-1');
  process.kill(dead, 'SIGKILL');
  await waitFor('the proxy to be dead', 5000, async () => !(await isRunning(dead)));
  for (let number = 0; number < 3; number += 1) {
    const next = await meridian.stream(sessions.london);
    await flows(await next.handshake());
    opened.push(next);
  }
  await flows(streams.virginia);
  await waitFor('the dead proxy\'s streams to end', 10_000, () => opened.some((stream) => stream.closed));
  const left = opened.filter((stream) => !stream.closed);
  assert.ok(left.length > 3, 'the streams of the other proxy go on');
  for (const stream of left) await flows(stream);
  await Promise.all(opened.map((stream) => stream.close()));
  await waitFor('the proxy to be started again', 20_000, async () => isRunning(await meridian.pid('proxy-london-1')));
  if (streams.london.closed) streams.london = await (await meridian.stream(sessions.london)).handshake();
});

step('kill -9 of one Web App node and then of the other: people work on', 90_000, async () => {
  for (const name of webNodes) {
    const launched = await meridian.running('Terminal', 'london');
    const dead = await meridian.pid(name);
    process.kill(dead, 'SIGKILL');
    await waitFor(`${name} to be dead`, 5000, async () => !(await isRunning(dead)));
    // What was in flight on it is lost, and nothing else: the login and the session are the database's.
    const body = await waitFor('an answer of the other one', 10_000, async () => {
      const { status, body: answer } = await meridian.call('GET', `/sessions/${launched}`);
      return status === 200 && answer;
    });
    assert.equal(body.state, 'running');
    await flows(await (await meridian.stream(launched)).handshake());
    for (const zone of zones) await flows(streams[zone]);
    await meridian.end(launched);
    await waitFor(`${name} to be started again`, 20_000, async () => (await meridian.pid(name)) !== dead);
    await waitFor(`${name} to serve`, 20_000, async () => {
      const [, address] = (await readFile(join(meridian.data, `config/${name}.toml`), 'utf8')).match(/^listen = "(.*)"$/m);
      return (await fetch(`http://${address}/api/__healthcheck`)).ok;
    });
  }
});

step('kill -9 of every Web App node around a launch: streams go on, and the launch happens once', 90_000, async () => {
  const keys = [randomUUID(), randomUUID()];
  const launch = { workspace_id: await meridian.workspace('Terminal'), zone: 'london' };
  const post = (key) => meridian.call('POST', '/sessions', launch, meridian.token, { 'idempotency-key': key });
  const repeated = async (key) => {
    const { status, body } = await post(key);
    if (status !== 201) throw new Error(JSON.stringify(body));
    return body;
  };

  // Without their configuration the processes that take the dead ones' places end too, so that the Web App is away for as long as it takes.
  const connection = await meridian.connect(sessions.london);
  const configs = webNodes.map((name) => join(meridian.data, `config/${name}.toml`));
  const nodes = await Promise.all(webNodes.map((name) => meridian.pid(name)));
  for (const config of configs) await rename(config, `${config}.away`);
  // One launch is answered just before the kill, the other is under way.
  const first = await post(keys[0]);
  assert.equal(first.status, 201, JSON.stringify(first.body));
  const cut = post(keys[1]);
  for (const web of nodes) process.kill(web, 'SIGKILL');
  await cut;
  for (const web of nodes) await waitFor('the Web App to be dead', 5000, async () => !(await isRunning(web)));
  for (const call of [() => meridian.call('GET', '/sessions'), () => post(keys[0])]) {
    const { status, body } = await call();
    // The balancer takes the connection and finds nobody to give it to.
    assert.deepEqual([status, body.error.code, body.error.hop], [502, 'connection_broken', 'front']);
    assert.ok(body.error.hint, 'it says what to do');
  }
  const { status, error } = await refusal(Stream.open(connection));
  assert.deepEqual([status, error.code, error.hop], [502, 'web_unreachable', 'web']);
  for (const zone of zones) await flows(streams[zone]);
  for (const config of configs) await rename(`${config}.away`, config);
  await waitFor('the Web App to be back', 30_000, async () => (await meridian.call('GET', '/sessions')).status === 200);
  // A refused connection for want of an answer burnt no ticket.
  await (await (await Stream.open(connection)).handshake()).close();

  const again = await repeated(keys[0]);
  // If the kill was the faster one, this launches; and agents that were not heard of for so long get no work before their next heartbeat.
  const second = await waitFor('the second launch', 10_000, () => repeated(keys[1]));
  assert.equal(again.id, first.body.id);
  assert.notEqual(second.id, first.body.id);
  assert.equal((await repeated(keys[1])).id, second.id);
  const { body } = await meridian.call('GET', '/sessions');
  assert.deepEqual(
    body.items.map((session) => session.id).sort(),
    [sessions.london, sessions.virginia, first.body.id, second.id].sort(),
    'each launch made one session',
  );
  for (const session of [first.body.id, second.id]) {
    await meridian.reaches(session, ['running'], 45_000);
    assert.equal((await meridian.containers(session)).length, 1);
  }
  await Promise.all([first.body.id, second.id].map((session) => meridian.end(session)));
});

step('kill -9 of an agent: the same workspace goes on, and opens again', 60_000, async () => {
  const [container] = await meridian.containers(sessions.london);
  const before = await started(container);
  await meridian.inside(sessions.london, 'touch', '/home/user/kept');
  await meridian.replaced('agent-london-1');
  const stream = await meridian.streamAgain(sessions.london);
  await flows(await stream.handshake());
  await meridian.reaches(sessions.london, ['running']);
  assert.equal(await started(container), before, 'the same container, never started again');
  assert.deepEqual(await meridian.containers(sessions.london), [container]);
  await meridian.inside(sessions.london, 'test', '-e', '/home/user/kept');
  await flows(streams.virginia);
  assert.ok(streams.london.closed, 'a plain stream ends with its agent');
  streams.london = stream;
});

/** Stands between an agent and the Docker Engine, so that the engine can seem to stop. */
class EngineDoor {
  sockets = new Set();
  isOpen = true;

  static async open(path) {
    const door = new EngineDoor();
    door.server = createServer((socket) => {
      door.keep(socket);
      // Shut, it takes connections and never answers, as an engine does that hangs.
      if (!door.isOpen) return;
      const docker = connect('/var/run/docker.sock');
      door.keep(docker);
      socket.pipe(docker).pipe(socket);
    });
    await new Promise((resolve) => door.server.listen(path, resolve));
    return door;
  }

  keep(socket) {
    this.sockets.add(socket);
    socket.on('error', () => {}).on('close', () => this.sockets.delete(socket));
  }

  shut() {
    this.isOpen = false;
    for (const socket of this.sockets) socket.destroy();
  }

  reopen() {
    this.isOpen = true;
    for (const socket of this.sockets) socket.destroy();
  }

  close() {
    this.shut();
    this.server.close();
  }
}

step('an engine that hangs: its streams go on, a launch waits and says for what, an end is kept', 90_000, async () => {
  const door = join(meridian.data, 'engine.sock');
  engine = await EngineDoor.open(door);
  const config = join(meridian.data, 'config/agent-virginia-1.toml');
  const text = await readFile(config, 'utf8');
  const changed = text.replace(/^docker_socket = .*$/m, `docker_socket = "${door}"`).replace(/^engine_wait_s = .*$/m, 'engine_wait_s = 2');
  assert.notEqual(changed, text);
  await writeFile(config, changed);
  await meridian.replaced('agent-virginia-1');
  streams.virginia = await meridian.streamAgain(sessions.virginia);
  await streams.virginia.handshake();
  const ending = await meridian.running('Terminal', 'virginia');

  engine.shut();
  const { status, body } = await meridian.launch('Terminal', 'virginia');
  assert.equal(status, 201, JSON.stringify(body));
  await waitFor('the launch to say what it waits for', 20_000, async () => {
    const { body: session } = await meridian.call('GET', `/sessions/${body.id}`);
    if (session.state !== 'starting') throw new Error(JSON.stringify(session));
    return /container engine/.test(session.progress.message ?? '') || Promise.reject(new Error(JSON.stringify(session.progress)));
  });
  await meridian.call('DELETE', `/sessions/${ending}`);
  await meridian.reaches(ending, ['ending']);
  await flows(streams.virginia);
  await flows(streams.london);

  engine.reopen();
  await meridian.reaches(body.id, ['running'], 45_000);
  await meridian.reaches(ending, ['ended']);
  assert.deepEqual(await meridian.containers(ending), []);
  await flows(streams.virginia);
  await meridian.end(body.id);
});

step('ended sessions leave nothing: no container, no volume, no mount', 60_000, async () => {
  await Promise.all(zones.map((zone) => meridian.end(sessions[zone])));
  for (const zone of zones) await streams[zone].ended();
  assert.deepEqual(await meridian.containers(), []);
  await nothingIsLeft();
});

async function nothingIsLeft() {
  const label = `label=dev.meridian.deployment=${await meridian.deployment()}`;
  for (const kind of ['volume', 'network']) {
    assert.equal((await run('docker', [kind, 'ls', '--quiet', '--filter', label])).stdout, '', kind);
  }
  const mounts = await readFile('/proc/mounts', 'utf8');
  for (const session of Object.values(sessions)) assert.ok(!mounts.includes(session), `a mount of ${session}`);
}

step('SIGTERM stops every process and the database, and the pid files are gone', 60_000, async () => {
  const pids = await Promise.all((await meridian.roles()).map((name) => meridian.pid(name)));
  const database = await meridian.database();
  assert.ok(database, 'the database runs');
  assert.deepEqual(await meridian.stop('SIGTERM'), { code: 0, signal: null });
  for (const pid of [...pids, database]) assert.equal(await isRunning(pid), false, `process ${pid}`);
  assert.deepEqual(await meridian.roles(), []);
});
