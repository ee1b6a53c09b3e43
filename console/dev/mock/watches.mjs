/** Looking on at sessions of the mock: the question, its answer, and how it ends. */

import { failure } from './failure.mjs';

const HOUR_MS = 3_600_000;

const later = (ms) => new Date(Date.now() + ms).toISOString();

/** Somebody's looking on at a session, in any state. */
export function watch(watcher, extra = {}) {
  return {
    id: `wat-${Math.random().toString(36).slice(2, 10)}`,
    watcher: { id: watcher.id, name: watcher.name },
    reason: 'your ticket 4711: the editor does not save',
    state: 'asked',
    seen: false,
    asked_at: later(0),
    answer_by: later(60_000),
    until: null,
    began_at: null,
    ended_at: null,
    because: null,
    ...extra,
  };
}

export function allowed() {
  return { state: 'allowed', seen: true, until: later(HOUR_MS), began_at: later(0) };
}

/** Answers what is about looking on at a session; false for everything else. */
export function answerWatches({ me, method, body, send }, session, rest, connect) {
  const [, id, action] = /^\/watches(?:\/([\w-]+))?(?:\/(\w+))?$/.exec(rest) ?? [null];
  if (!rest.startsWith('/watches')) return false;
  session.watches ??= [];
  if (id === undefined) {
    const asked = watch(me, { reason: body.reason });
    session.watches.push(asked);
    return send(201, asked);
  }
  const found = session.watches.find((entry) => entry.id === id);
  if (!found) return send(404, failure('not_found', 'Nobody asks to look on by that id.', {}));
  if (action === 'connect') return connect();
  if (method === 'DELETE') {
    Object.assign(found, found.state === 'asked' ? { state: 'withdrawn' } : { state: 'ended', because: `${me.name} ended it`, ended_at: later(0) });
    return send(200, found);
  }
  const answers = { seen: { seen: true }, allow: allowed(), decline: { state: 'declined' } };
  Object.assign(found, answers[body.answer]);
  return send(200, session);
}
