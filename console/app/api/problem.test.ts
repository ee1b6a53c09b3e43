import { expect, test } from 'vitest';
import { asProblem, problemFromAnswer, problemFromSilence } from './problem';

const answer = (status: number, headers: Record<string, string> = {}) => new Response(null, { status, headers });

test('an envelope is taken over whole', () => {
  const candidate = { zone: 'london', agent: 'a1', verdict: 'draining' };
  const problem = problemFromAnswer(answer(503), {
    error: { code: 'no_capacity', message: 'Full.', hop: 'placement', hint: 'Wait.', explanation: [candidate], request_id: 'r1' },
  });
  expect(problem.details).toEqual({
    status: 503,
    code: 'no_capacity',
    message: 'Full.',
    hop: 'placement',
    hint: 'Wait.',
    explanation: [candidate],
    fields: [],
    requestId: 'r1',
    retryAfter: null,
  });
});

test.each([undefined, null, '<html>', { error: 7 }, { error: { message: 5, explanation: 'x' } }, []])(
  'whatever else a proxy answers is still explained: %j',
  (body) => {
    const { details } = problemFromAnswer(answer(502), body);
    expect(details.message).toBe('Meridian is not available at the moment.');
    expect(details.explanation).toEqual([]);
  },
);

test('Retry-After is read in seconds and nothing else', () => {
  expect(problemFromAnswer(answer(429, { 'Retry-After': '12' }), {}).details.retryAfter).toBe(12);
  expect(problemFromAnswer(answer(429, { 'Retry-After': 'soon' }), {}).details.retryAfter).toBeNull();
  expect(problemFromAnswer(answer(429, { 'Retry-After': '-3' }), {}).details.retryAfter).toBeNull();
});

test('a wrong password does not sign anybody out; a lost session does', () => {
  const of = (code: string) => problemFromAnswer(answer(401), { error: { code, message: 'No.', request_id: 'r' } });
  expect(of('bad_credentials').signedOut).toBe(false);
  expect(of('unauthenticated').signedOut).toBe(true);
});

test('only what may not have reached a server is repeated', () => {
  expect(problemFromSilence(false).temporary).toBe(true);
  expect(problemFromAnswer(answer(502), {}).temporary).toBe(true);
  expect(problemFromAnswer(answer(503), {}).temporary).toBe(false);
  expect(problemFromAnswer(answer(409), {}).temporary).toBe(false);
});

test('any thrown thing becomes a problem with a next step', () => {
  expect(asProblem(new TypeError('boom')).details).toMatchObject({ message: 'boom', hop: 'in this browser' });
  expect(asProblem('boom').details.hint).not.toBeNull();
});

test('a name that is taken is said at the name, whatever the form calls it', () => {
  const problem = problemFromAnswer(answer(409), { error: { code: 'name_taken', message: 'A zone of that name exists already', request_id: 'r' } });
  expect(['name', 'username', 'zone_name', 'priority'].map((field) => problem.at(field))).toEqual([
    'A zone of that name exists already',
    'A zone of that name exists already',
    'A zone of that name exists already',
    null,
  ]);
});
