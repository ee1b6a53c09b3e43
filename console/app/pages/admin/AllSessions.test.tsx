// @vitest-environment happy-dom
import { cleanup, screen, waitFor } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import AllSessions from './AllSessions';
import { show, write } from './admin.stage';

let asked: string[] = [];

const json = (body: unknown, status = 200) =>
  new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json' } });

const session = (user: string, zone: string) => ({
  id: `${user}-${zone}`, name: 'Desktop', workspace: { id: 'w', name: 'Desktop', icon: 'desktop' }, user: { id: user, name: user }, zone,
  agent: `agent-${zone}`, state: 'running', progress: { step: 'ready', message: '', percent: null }, reason: null, choice: null,
  created_at: '2026-11-23T08:00:00Z', started_at: '2026-11-23T08:00:01Z', ended_at: null,
});

beforeEach(() => {
  asked = [];
  const all = [session('ada', 'london'), session('ada', 'virginia'), session('bob', 'london')];
  const answer = (request: Request) => {
    const { pathname, search, searchParams } = new URL(request.url);
    if (pathname.endsWith('/zones')) return json({ items: [{ name: 'london' }, { name: 'virginia' }], next: null });
    if (!pathname.endsWith('/sessions')) return json({ items: [], next: null });
    asked.push(search);
    const [user, zone] = [searchParams.get('user'), searchParams.get('zone')];
    const message = 'There is no such user, or it is not yours';
    if (user !== null && !['ada', 'bob'].includes(user))
      return json({ error: { code: 'not_found', message, fields: [{ field: 'user', message }] } }, 404);
    const items = all.filter((one) => (user === null || one.user.name === user) && (zone === null || one.zone === zone));
    return json({ items, next: null });
  };
  vi.stubGlobal('fetch', (request: Request) => Promise.resolve(answer(request)));
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

test('sessions are found by user and zone, and an unknown user is said at the field', async () => {
  show(<AllSessions />);
  const rows = () => screen.queryAllByRole('button', { name: /^Explain/ }).map((button) => button.getAttribute('aria-label'));
  await waitFor(() => expect(rows()).toHaveLength(3));

  write('Of whom', ' ada ');
  await waitFor(() => expect(rows()).toEqual(['Explain Desktop of ada', 'Explain Desktop of ada']));
  write('Zone', 'virginia');
  await waitFor(() => expect(rows()).toHaveLength(1));
  expect(asked.at(-1)).toBe('?all=true&user=ada&zone=virginia');

  write('Of whom', 'bob');
  await screen.findByText('No such session runs');
  write('Of whom', 'nobody');
  await screen.findByText('Nobody is called that');
  expect(rows()).toEqual([]);
  expect(screen.getByLabelText('Of whom').getAttribute('aria-invalid')).toBe('true');
});
