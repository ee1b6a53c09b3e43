// @vitest-environment happy-dom
import { cleanup, fireEvent, screen, waitFor, within } from '@testing-library/react';
import { afterEach, expect, test, vi } from 'vitest';
import type { Node } from '../../api/types';
import { NodeOrders } from './NodeOrders';
import { refusal, show, stage } from './admin.stage';

const agent = { id: 'n', name: 'agent-1', role: 'agent', zone: 'london', state: 'ready', sessions: 2, streams: 1 };

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

function open(change: Partial<Node>): { gone: () => number } {
  let gone = 0;
  show(<NodeOrders node={{ ...agent, ...change } as Node} onGone={() => (gone += 1)} />);
  return { gone: () => gone };
}

/** Presses *Remove*, reads what is asked, and says yes with this word. */
async function remove(word: string): Promise<string> {
  fireEvent.click(screen.getByRole('button', { name: 'Remove' }));
  const dialog = await screen.findByRole('dialog');
  const text = dialog.textContent;
  fireEvent.click(within(dialog).getByRole('button', { name: word }));
  return text;
}

const draining = () => new Response(JSON.stringify({ state: 'draining', sessions: 2, streams: 1 }), { status: 202, headers: { 'Content-Type': 'application/json' } });

test('an agent with sessions is drained, and asked for again until nothing is on it', async () => {
  const answers = [draining(), new Response(null, { status: 204 })];
  const sent = stage(() => answers.shift() ?? null);
  const { gone } = open({});
  expect(await remove('Drain and remove')).toMatch(/What runs on it ends, with the reason: 2 sessions.*Homes that it keeps itself go with it/);
  await screen.findByText(/Still there: 2 sessions\./);
  expect(gone()).toBe(0);
  fireEvent.click(screen.getByRole('button', { name: 'Look again and remove' }));
  await waitFor(() => expect(gone()).toBe(1));
  expect(sent.map(({ call }) => call)).toEqual(['POST /nodes/n/remove?drain=true', 'POST /nodes/n/remove?drain=true']);
});

test('of an agent that does not answer it is said that what runs on it is lost', async () => {
  stage(() => new Response(null, { status: 204 }));
  const { gone } = open({ state: 'unreachable', sessions: 1 });
  expect(await remove('Remove')).toMatch(/removed at once. What runs on it is lost: 1 session\./);
  await waitFor(() => expect(gone()).toBe(1));
});

test('the viewers of a proxy move, and no session is said to end', async () => {
  stage(() => null);
  open({ role: 'proxy', sessions: 0, streams: 3 });
  expect(await remove('Drain and remove')).toMatch(/Its viewers move to another one: 3 streams/);
});

test('a Web App node is removed only when it does not answer, and it is said how that comes about', async () => {
  stage(() => new Response(null, { status: 204 }));
  open({ role: 'web', sessions: 0, streams: 0 });
  expect(screen.queryByRole('button')).toBeNull();
  screen.getByText(/stop it on its machine/);
  cleanup();
  const { gone } = open({ role: 'web', state: 'unreachable', sessions: 0, streams: 0 });
  expect(screen.queryByRole('button', { name: 'Drain' })).toBeNull();
  await remove('Remove');
  await waitFor(() => expect(gone()).toBe(1));
});

test('why a node was not removed is said', async () => {
  stage(() => refusal(409, 'The Web App node web-2 answers, and serves whoever comes to it'));
  const { gone } = open({ role: 'web', state: 'unreachable', sessions: 0, streams: 0 });
  await remove('Remove');
  await screen.findByText(/web-2 answers/);
  expect(gone()).toBe(0);
});
