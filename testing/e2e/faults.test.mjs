// Bad input and faults against one `meridian up`: each a clear error, nothing lost, nothing left. Real Docker, no browser.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { Meridian, Stream, failsToStart, isRunning, password, refusal, waitFor } from './meridian.mjs';

const run = promisify(execFile);
let meridian, other;

before(async () => {
  meridian = await Meridian.make();
  await meridian.start();
  await meridian.signIn();
}, { timeout: 120_000 });

after(async () => {
  await other?.cleanUp();
  await meridian?.cleanUp();
}, { timeout: 150_000 });

function check(name, timeout, body) {
  test(name, { timeout }, async () => {
    try {
      await body();
    } catch (error) {
      console.error(meridian.log.slice(-30).join('\n'));
      throw error;
    }
  });
}

const startedAt = async (container) => (await run('docker', ['inspect', '--format', '{{.Id}} {{.State.StartedAt}}', container])).stdout;

check('a taken port is named, and nothing is started', 30_000, async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const fresh = await Meridian.make();
  try {
    const address = `127.0.0.1:${taken.address().port}`;
    const { code, said } = await failsToStart(fresh.data, '--listen', address);
    assert.equal(code, 1, said);
    assert.ok(said.includes(`${address} is taken`) && said.includes('--listen'), said);
    assert.equal(await fresh.database(), undefined);
  } finally {
    taken.close();
    await fresh.cleanUp();
  }
});

check('a second start on the same data names the process that has it, and disturbs nothing', 30_000, async () => {
  const { code, said } = await failsToStart(meridian.data, '--listen', '127.0.0.1:0');
  assert.equal(code, 1, said);
  assert.ok(said.includes(`process ${meridian.process.pid}`) && said.includes(meridian.data), said);
  assert.equal((await meridian.call('GET', '/sessions')).status, 200);
});

check('two deployments on one Docker Engine leave each other alone', 120_000, async () => {
  other = await Meridian.make();
  await other.start();
  await other.signIn();
  const [mine, theirs] = await Promise.all([meridian.running('Terminal'), other.running('Terminal')]);
  const [container] = await meridian.containers(mine);
  const before = await startedAt(container);
  assert.deepEqual(await meridian.containers(), [container]);
  assert.equal((await other.containers()).length, 1);

  // Stopped and started beside a foreign container, it takes up its own and only that.
  assert.deepEqual(await other.stop('SIGTERM'), { code: 0, signal: null });
  await other.start();
  await other.signIn();
  await other.reaches(theirs, ['running']);
  assert.equal(await startedAt(container), before);
  assert.equal((await other.call('GET', `/sessions/${mine}`)).status, 404);

  await meridian.end(mine);
  await other.reaches(theirs, ['running']);
  await (await (await other.streamAgain(theirs)).handshake()).close();
  await other.end(theirs);
  assert.deepEqual(await other.stop('SIGTERM'), { code: 0, signal: null });
  assert.deepEqual(await other.cleanUp(), []);
});

check('an end that comes while a workspace starts wins, and nothing comes back', 120_000, async () => {
  const ended = [];
  for (const delay of ['at once', 'seen', 'container']) {
    const { status, body } = await meridian.launch('Terminal');
    assert.equal(status, 201, JSON.stringify(body));
    if (delay === 'seen') {
      await waitFor('the agent to have begun', 10_000, async () =>
        (await meridian.call('GET', `/sessions/${body.id}`)).body.progress.step !== 'placed');
    } else if (delay === 'container') {
      await waitFor('a container', 20_000, async () => (await meridian.containers(body.id)).length === 1);
    }
    const { status: accepted } = await meridian.call('DELETE', `/sessions/${body.id}`);
    assert.equal(accepted, 202);
    await meridian.reaches(body.id, ['ended']);
    ended.push(body.id);
  }
  // A later session comes up and goes, after everything that the engine may have finished late.
  await meridian.end(await meridian.running('Terminal'));
  assert.deepEqual(await meridian.containers(), []);
  for (const session of ended) {
    assert.equal((await meridian.call('GET', `/sessions/${session}`)).body.state, 'ended');
    assert.equal((await meridian.call('POST', `/sessions/${session}/connect`, {})).status, 409);
  }
});

check('a workspace whose shell is left ends its session, and says so', 60_000, async () => {
  const session = await meridian.running('Terminal');
  const stream = await (await meridian.stream(session)).handshake();
  // A shell takes a moment to read what is typed.
  await waitFor('the shell to read', 20_000, async () => {
    stream.type('touch ~/reads');
    return meridian.inside(session, 'ls', '/home/user/reads').then(() => true, () => false);
  });
  stream.type('exit');
  const { reason } = await meridian.reaches(session, ['ended']);
  assert.match(reason, /ended by itself/);
  const { reason: closed } = await stream.ended();
  assert.notEqual(closed, '', 'the viewer reads why');
  await isGone(session);
  const { status, body } = await meridian.call('POST', `/sessions/${session}/connect`, {});
  assert.equal(status, 409);
  assert.ok(body.error.message.includes(reason) && body.error.hint, JSON.stringify(body));
});

/** Nothing is left of a session, its reservation included. */
async function isGone(session) {
  await waitFor('the container to be gone', 30_000, async () => (await meridian.containers(session)).length === 0);
  const { body } = await meridian.call('GET', '/sessions');
  assert.ok(!body.items.some(({ id }) => id === session), 'it counts as the user\'s no more');
}

check('a workspace that is killed, or removed behind our back, ends with its reason', 90_000, async () => {
  for (const [command, expected] of [[['kill'], /exit code 137/], [['rm', '--force'], /removed by someone else/]]) {
    const session = await meridian.running('Terminal');
    const stream = await (await meridian.stream(session)).handshake();
    const [container] = await meridian.containers(session);
    await run('docker', [...command, container]);
    const { reason } = await meridian.reaches(session, ['ended', 'failed']);
    assert.match(reason, expected);
    await stream.ended();
    await isGone(session);
  }
});

check('a workspace without its image is refused, machine by machine', 30_000, async () => {
  const made = await meridian.call('POST', '/workspaces', { name: 'Unmade', image: 'meridian/there-is-none:1', cpu: 0.1, memory_mb: 128 });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  const { status, body } = await meridian.launch('Unmade', 'london');
  assert.equal(status, 503, JSON.stringify(body));
  assert.deepEqual(body.error.explanation.map(({ agent, verdict }) => [agent, verdict]), [['agent-london-1', 'no image yet']]);
  assert.ok(body.error.message && body.error.hint && body.error.hop, JSON.stringify(body));
});

check('one user neither sees nor reaches another\'s session', 60_000, async () => {
  const made = await meridian.call('POST', '/users', { username: 'bea', password });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  const { body: { token } } = await meridian.call('POST', '/auth/login', { username: 'bea', password }, null);
  const session = await meridian.running('Terminal');
  const as = (method, path, body) => meridian.call(method, path, body, token);
  const none = '/sessions/01a00000-0000-7000-8000-000000000000';
  for (const [method, path, body] of [['GET', ''], ['GET', '/explanation'], ['GET', '/events'], ['DELETE', ''], ['POST', '/connect', {}]]) {
    const [answer, unknown] = [await as(method, `/sessions/${session}${path}`, body), await as(method, `${none}${path}`, body)];
    assert.equal(answer.status, 404, `${method} ${path}`);
    // Not even that it exists is to be learnt.
    assert.deepEqual({ ...answer.body.error, request_id: '' }, { ...unknown.body.error, request_id: '' });
  }
  assert.deepEqual((await as('GET', '/sessions')).body.items, []);
  assert.equal((await as('GET', '/sessions?all=true')).status, 403);
  assert.equal((await as('GET', '/nodes')).status, 403);
  assert.equal((await meridian.call('GET', `/sessions/${session}`)).body.state, 'running');

  // Her own ticket opens nothing of his.
  const { status, body: own } = await meridian.call('POST', '/sessions', { workspace_id: await meridian.workspace('Terminal') }, token);
  assert.equal(status, 201, JSON.stringify(own));
  const { url, protocols } = await meridian.connect(own.id, token);
  const { status: refused, error } = await refusal(Stream.open({ url: url.replace(own.id, session), protocols }));
  assert.deepEqual([refused, error.code], [403, 'ticket_other_session']);
  assert.equal((await as('DELETE', `/sessions/${own.id}`)).status, 202);
  await meridian.reaches(own.id, ['ended']);
  await meridian.end(session);
});

/** Sends bytes as they are, and reads the whole answer. */
async function raw(...pieces) {
  const { hostname, port } = new URL(meridian.url);
  const socket = connect(Number(port), hostname);
  socket.setEncoding('latin1');
  let text = '';
  socket.on('data', (piece) => { text += piece; }).on('error', () => {});
  for (const piece of pieces) socket.write(piece);
  // An answer that ends the connection; or one whose length is said.
  await waitFor('an answer', 15_000, () => {
    const [head, body] = text.split('\r\n\r\n', 2);
    const length = /content-length: (\d+)/i.exec(head);
    return socket.closed || (body !== undefined && length && body.length >= Number(length[1]));
  });
  socket.destroy();
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]), text };
}

const upgrade = (path, ...headers) =>
  [`GET ${path} HTTP/1.1`, 'Host: x', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', ...headers, '', ''].join('\r\n');

check('malformed and oversized requests are answered and cost nothing', 60_000, async () => {
  const session = '01a00000-0000-7000-8000-000000000000';
  const stream = `/desktop-london/${session}/stream`;
  const offer = 'Sec-WebSocket-Protocol: binary, meridian.ticket.e30.e30.e30';
  const plain = (path, ...headers) => [`GET ${path} HTTP/1.1`, 'Host: x', ...headers, '', ''].join('\r\n');
  const cases = [
    ['a bad path', 404, 'not_found', upgrade('/desktop-london/nowhere', offer)],
    ['no session', 404, 'not_found', upgrade('/desktop-london/not-an-id/stream', offer)],
    ['a path upwards', 404, 'not_found', upgrade(`/desktop-london/../${session}/stream`, offer)],
    ['no upgrade', 426, 'upgrade_required', plain(stream)],
    ['another method', 405, 'method_not_allowed', upgrade(stream, offer).replace('GET', 'POST')],
    ['an old version', 426, 'websocket_version', upgrade(stream, offer).replace('Version: 13', 'Version: 8')],
    ['no subprotocol', 400, 'protocols', upgrade(stream)],
    ['no ticket', 400, 'protocols', upgrade(stream, 'Sec-WebSocket-Protocol: binary')],
    ['rubbish for a ticket', 401, 'ticket_invalid', upgrade(stream, offer)],
    ['a head beyond the proxy\'s bound', 431, 'head_too_long', upgrade(stream, offer, `X-Long: ${'x'.repeat(20_000)}`)],
  ];
  for (const [what, status, code, request] of cases) {
    const answer = await raw(request);
    assert.equal(answer.status, status, `${what}: ${answer.text}`);
    assert.ok(answer.text.includes(`"code":"${code}"`) && answer.text.includes('"request_id"'), `${what}: ${answer.text}`);
  }
  assert.equal((await raw(upgrade(stream, `X-Long: ${'x'.repeat(100_000)}`))).status, 431);
  assert.equal((await raw(plain(`/${'x'.repeat(100_000)}`))).status, 431);
  assert.equal((await raw('\x16\x03\x01 this is no HTTP\r\n\r\n')).status, 400);

  const json = (body) => raw(`POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`, body);
  for (const [body, status] of [['{', 400], ['[]', 422], ['{"username":"admin","password":"x","more":1}', 422], [`{"username":"${'x'.repeat(3_000_000)}`, 413]]) {
    const answer = await json(body);
    assert.equal(answer.status, status, answer.text);
    assert.match(answer.text, /"error":\{"code":"[a-z_]+","message":"[^"]/, answer.text);
  }
});

check('a browser that leaves at any moment of the upgrade leaves nothing behind', 60_000, async () => {
  const session = await meridian.running('Terminal');
  const { hostname, port } = new URL(meridian.url);
  for (let number = 0; number < 12; number += 1) {
    const { url, protocols } = await meridian.connect(session);
    const request = upgrade(new URL(url).pathname, `Sec-WebSocket-Protocol: ${protocols.join(', ')}`);
    const socket = connect(Number(port), hostname).on('error', () => {});
    await once(socket, 'connect');
    // Half a head; a whole one and gone; gone at the first byte of the answer.
    await new Promise((written) => socket.write(number % 3 === 0 ? request.slice(0, 60) : request, written));
    if (number % 3 === 2) await once(socket, 'data');
    socket.resetAndDestroy();
  }
  const stream = await (await meridian.stream(session)).handshake();
  assert.ok(await stream.frame() > 0);
  await stream.close();
  await meridian.end(session);
});

check('kill -9 of it all: the next start adopts the database and finds the same workspace', 120_000, async () => {
  const session = await meridian.running('Terminal');
  const [container] = await meridian.containers(session);
  const before = await startedAt(container);
  await meridian.inside(session, 'touch', '/home/user/kept');
  const database = await meridian.database();
  meridian.process.kill('SIGKILL');
  assert.deepEqual(await meridian.exited, { code: null, signal: 'SIGKILL' });
  assert.equal(await isRunning(database), true, 'the database has a session of its own and outlives it');

  await meridian.start();
  await meridian.signIn();
  assert.equal(await meridian.database(), database, 'the same database process');
  await meridian.reaches(session, ['running']);
  assert.equal(await startedAt(container), before, 'the same container, never started again');
  await meridian.inside(session, 'test', '-e', '/home/user/kept');
  const stream = await (await meridian.streamAgain(session)).handshake();
  assert.ok(await stream.frame() > 0);
  await meridian.end(session);
});

check('nothing is left: no container, volume, network or mount, and no process after the stop', 60_000, async () => {
  const label = `label=dev.meridian.deployment=${await meridian.deployment()}`;
  assert.deepEqual(await meridian.containers(), []);
  for (const kind of ['volume', 'network']) {
    assert.equal((await run('docker', [kind, 'ls', '--quiet', '--filter', label])).stdout, '', kind);
  }
  const { body } = await meridian.call('GET', '/sessions?all=true&ended=true');
  const mounts = await readFile('/proc/mounts', 'utf8');
  assert.ok(body.items.length > 8, 'sessions were had');
  for (const { id, state } of body.items) {
    assert.ok(['ended', 'failed'].includes(state), `${id} is ${state}`);
    assert.ok(!mounts.includes(id), `a mount of ${id}`);
  }
  const database = await meridian.database();
  assert.deepEqual(await meridian.stop('SIGINT'), { code: 0, signal: null });
  assert.equal(await isRunning(database), false);
});
