/**
 * A Meridian that is not there: the API's contract in memory, for working on the console without a server and for its
 * screenshots. It serves dist/ with the production's content security policy. Any password but `wrong` signs in; `admin`
 * is the administrator.
 *
 *     npm run build && npm run mock           http://127.0.0.1:8090
 *     MERIDIAN_URL=http://127.0.0.1:8090 npm run dev
 *
 * MOCK_PORT, MOCK_RESUME=1 (answer RESUMED), MOCK_DISPLAY=path (a VNC server's unix socket), MOCK_PACE (ms per launch step).
 */

import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { WebSocketServer } from 'ws';
import { Stream } from './agent.mjs';
import { explanation, fullHouse } from './data.mjs';
import { Deployment } from './deployment.mjs';
import { failure } from './failure.mjs';
import { Homes } from './homes.mjs';
import { Images } from './images.mjs';
import { Moves } from './moves.mjs';
import { People } from './people.mjs';
import { answerWatches } from './watches.mjs';

const dist = fileURLToPath(new URL('../../dist/', import.meta.url));
const policy =
  "default-src 'self'; connect-src 'self' http: https: ws: wss:; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; worker-src 'self' blob:";
const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

const launchSteps = [
  ['reserved', 'Reserved a place on agent-london-1', null],
  ['pushed', 'agent-london-1 has the order', null],
  ['image', 'Fetching the image', 20],
  ['image', 'Fetching the image', 70],
  ['container', 'Container created, starting', null],
  ['display', 'Waiting for the display to answer', null],
  ['ready', 'Ready', null],
];

export function startMock({ port = 0, resume = false, pass = false, display = null, pace = 700 } = {}) {
  const mock = new Mock({ resume, pass, display, pace });
  const server = createServer((request, response) => void mock.answer(request, response));
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => 'meridian.v1' });
  server.on('upgrade', (request, socket, head) => {
    const stream = mock.streamFor(request);
    if (!stream) return socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n');
    sockets.handleUpgrade(request, socket, head, (websocket) => stream.serve(websocket));
  });
  return new Promise((resolve) => {
    server.listen(port, '127.0.0.1', () => {
      mock.url = `http://127.0.0.1:${server.address().port}`;
      resolve(mock);
    });
    mock.stop = () => {
      for (const socket of sockets.clients) socket.terminate();
      server.closeAllConnections();
      server.close();
    };
  });
}

class Mock {
  constructor(options) {
    this.options = options;
    this.logins = new Map();
    this.failedLogins = 0;
    this.people = new People();
    this.deployment = new Deployment();
    this.images = new Images();
    this.homes = new Homes();
    this.moves = new Moves();
    this.sessions = new Map();
    this.launched = new Map();
    this.tickets = new Map();
    this.streams = new Map();
    this.watchers = new Set();
    /** When set, POST /sessions is refused with it. */
    this.refuseLaunch = null;
    /** The control plane is away. */
    this.down = false;
    /** No relay lets anybody in. */
    this.closed = false;
  }

  async answer(request, response) {
    const url = new URL(request.url, 'http://mock');
    if (url.pathname.endsWith('/probe')) return response.writeHead(204, { 'Access-Control-Allow-Origin': '*', 'Cache-Control': 'no-store' }).end();
    if (!url.pathname.startsWith('/api/')) return this.page(url.pathname, response);
    if (this.down) return request.destroy();
    let body = '';
    for await (const chunk of request) body += chunk;
    const send = (status, value, headers = {}) => {
      response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
      response.end(value === undefined ? '' : JSON.stringify(value));
    };
    const route = `${request.method} ${url.pathname.replace('/api/v1', '')}`;
    const me = this.logins.get(/session=([\w-]+)/.exec(request.headers.cookie ?? '')?.[1]);
    if (route === 'POST /auth/login') return this.login(JSON.parse(body), send);
    if (!me) return send(401, failure('unauthenticated', 'You are not signed in.', { hint: 'Sign in.' }));
    const handlers = {
      'GET /auth/me': () => send(200, me),
      'POST /auth/logout': () => {
        this.logins.clear();
        send(204);
      },
      'GET /sessions': () => send(200, list(this.visible(me, url.searchParams))),
      'POST /sessions': () => this.launch(me, JSON.parse(body), request.headers['idempotency-key'], send),
    };
    if (handlers[route]) return handlers[route]();
    const { host } = request.headers;
    const path = url.pathname.replace('/api/v1', '');
    const asked = { me, method: request.method, path, query: url.searchParams, body: body === '' ? {} : JSON.parse(body), host, send };
    if ([this.people, this.images, this.homes, this.moves, this.deployment].some((part) => part.answer(asked) !== false)) return;
    const [, id, rest = ''] = /^\/sessions\/([\w-]+)(\/[\w/-]+)?$/.exec(path) ?? [];
    const session = this.sessions.get(id);
    if (!session) return send(404, failure('not_found', 'There is no such session.', { hint: 'Go back to the catalogue.' }));
    if (rest === '/events') return this.watch(session, response);
    if (rest === '/explanation') return send(200, explanation(session));
    if (rest === '/connect') return this.connect(session, asked.body, request, send);
    const looksOn = () => this.connect(session, asked.body, request, send);
    if (answerWatches(asked, session, rest, looksOn) !== false) return this.changed(session);
    if (request.method === 'DELETE') {
      this.end(session, 'Ended by its user.');
      return send(202, session);
    }
    send(200, session);
  }

  login({ username, password }, send) {
    if (password === 'wrong') {
      this.failedLogins += 1;
      if (this.failedLogins > 3) {
        const hint = 'Wait a moment before the next attempt.';
        return send(429, failure('throttled', 'Too many attempts to sign in.', { hint }), { 'Retry-After': '20' });
      }
      return send(401, failure('bad_credentials', 'User name or password is wrong.', { hint: 'Check both and try again.' }));
    }
    const id = randomUUID();
    const { role = 'user', must_change_password = false } = this.people.findUser(username) ?? {};
    const user = { id: `usr-${username}`, name: username, role, must_change_password };
    this.logins.set(id, user);
    send(200, { token: id, user }, { 'Set-Cookie': `session=${id}; HttpOnly; Path=/api; SameSite=Strict` });
  }

  visible(me, query) {
    return [...this.sessions.values()]
      .filter((session) => query.get('all') === 'true' || session.user.id === me.id)
      .filter((session) => query.get('ended') === 'true' || !isFinal(session.state))
      .filter((session) => !query.get('user') || session.user.name === query.get('user'))
      .filter((session) => !query.get('zone') || session.zone === query.get('zone'))
      .reverse();
  }

  launch(me, { workspace_id: workspaceId, zone }, key, send) {
    if (this.launched.has(key)) return send(201, this.launched.get(key));
    const workspace = this.deployment.workspaces.find((entry) => entry.id === workspaceId);
    if (this.refuseLaunch) {
      this.deployment.refused(me, workspace, zone, this.refuseLaunch.error);
      return send(503, this.refuseLaunch);
    }
    const because = zone ? 'you chose it' : 'it is the nearest to you, as measured';
    const session = this.add(me, workspace, zone ?? 'london', { choice: { zone: zone ?? 'london', because, elsewhere_because: null, distance_ms: 11.7, meant_distance_ms: 11.7 } });
    this.launched.set(key, session);
    send(201, session);
    launchSteps.forEach(([step, message, percent], index) => {
      setTimeout(() => {
        if (session.state !== 'starting') return;
        session.progress = { step, message, percent };
        if (step === 'ready') Object.assign(session, { state: 'running', started_at: new Date().toISOString() });
        this.changed(session);
      }, this.options.pace * (index + 1));
    });
  }

  /** Puts a session there, in any state. */
  add(user, workspace, zone, extra = {}) {
    const { id, name, icon } = workspace;
    const session = {
      id: `ses-${randomUUID().slice(0, 8)}`,
      name,
      workspace: { id, name, icon },
      user: { id: user.id, name: user.name },
      zone,
      agent: `agent-${zone}-1`,
      state: 'starting',
      progress: { step: 'reserved', message: launchSteps[0][1], percent: null },
      created_at: new Date().toISOString(),
      started_at: null,
      ended_at: null,
      reason: null,
      choice: null,
      ...extra,
    };
    this.sessions.set(session.id, session);
    return session;
  }

  end(session, reason, state = 'ended') {
    session.state = 'ending';
    this.changed(session);
    setTimeout(() => {
      Object.assign(session, { state, reason, ended_at: new Date().toISOString() });
      for (const stream of this.streamsOf(session)) stream.notice(4, reason);
      this.changed(session);
    }, 600);
  }

  watch(session, response) {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    const watcher = { id: session.id, send: () => response.write(`data: ${JSON.stringify(session)}\n\n`), end: () => response.destroy() };
    watcher.send();
    this.watchers.add(watcher);
    response.on('close', () => this.watchers.delete(watcher));
  }

  changed(session) {
    for (const watcher of this.watchers) if (watcher.id === session.id) watcher.send();
  }

  connect(session, { jkt }, request, send) {
    const ticket = randomUUID();
    const stream = `${session.id}/${jkt ?? ticket}`;
    if (!this.streams.has(stream)) {
      for (const other of this.streamsOf(session)) other.notice(3, 'A later viewer took this session.');
      this.streams.set(stream, new Stream({ jkt, resume: this.options.resume, display: this.options.display }));
    }
    this.tickets.set(ticket, stream);
    const url = `ws://${request.headers.host}/desktop-${session.zone}/${session.id}/stream`;
    const back = this.options.pass ? ['meridian.v1', `meridian.pass.${Buffer.from(stream).toString('hex')}`] : [];
    send(200, { url, protocols: ['meridian.v1', `meridian.ticket.${ticket}`], alternates: [], resume_protocols: back });
  }

  streamFor(request) {
    if (this.closed) return undefined;
    const offered = request.headers['sec-websocket-protocol'] ?? '';
    const pass = /meridian\.pass\.([0-9a-f]+)/.exec(offered)?.[1];
    if (pass) return this.streams.get(Buffer.from(pass, 'hex').toString());
    const ticket = /meridian\.ticket\.([\w-]+)/.exec(offered)?.[1];
    const stream = this.streams.get(this.tickets.get(ticket));
    this.tickets.delete(ticket);
    return stream;
  }

  streamsOf(session) {
    return [...this.streams].filter(([name]) => name.startsWith(`${session.id}/`)).map(([, stream]) => stream);
  }

  async page(path, response) {
    const file = extname(path) ? normalize(path) : '/index.html';
    try {
      const content = await readFile(join(dist, file));
      response.writeHead(200, { 'Content-Type': types[extname(file)] ?? 'application/octet-stream', 'Content-Security-Policy': policy });
      response.end(content);
    } catch {
      response.writeHead(404).end();
    }
  }
}

export { failure, fullHouse };

function list(items) {
  return { items, next: null };
}

function isFinal(state) {
  return state === 'ended' || state === 'failed' || state === 'lost';
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const mock = await startMock({
    port: Number(process.env.MOCK_PORT ?? 8090),
    resume: process.env.MOCK_RESUME === '1',
    display: process.env.MOCK_DISPLAY ?? null,
    pace: Number(process.env.MOCK_PACE ?? 700),
  });
  process.stdout.write(`${mock.url}\n`);
}
