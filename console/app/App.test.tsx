// @vitest-environment happy-dom
import { MantineProvider } from '@mantine/core';
import { QueryClientProvider } from '@tanstack/react-query';
import { cleanup, configure, render, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { MemoryRouter } from 'react-router';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { App } from './App';
import { createQueryClient } from './api/queries';

// Pages are chunks of their own, which a busy machine takes its time to load.
configure({ asyncUtilTimeout: 20_000 });
vi.setConfig({ testTimeout: 60_000 });

type Answers = Record<string, (request: Request) => Response | Promise<Response>>;
let answers: Answers = {};

beforeEach(() => {
  vi.stubGlobal('fetch', (request: Request) => {
    const answer = answers[`${request.method} ${new URL(request.url).pathname}`];
    return Promise.resolve(answer ? answer(request) : json(200, { items: [], next: null }));
  });
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
  answers = {};
});

function json(status: number, value: unknown): Response {
  return new Response(JSON.stringify(value), { status, headers: { 'Content-Type': 'application/json' } });
}

function open(path: string) {
  render(
    <MantineProvider>
      <QueryClientProvider client={createQueryClient()}>
        <MemoryRouter initialEntries={[path]}>
          <App />
        </MemoryRouter>
      </QueryClientProvider>
    </MantineProvider>,
  );
}

const ada = { id: 'u', name: 'ada', role: 'user', permissions: [] as string[], must_change_password: false };

async function shownPages(): Promise<string[]> {
  const pages = [await screen.findByRole('navigation', { name: 'Pages' }), screen.queryByRole('navigation', { name: 'Administration' })];
  return pages.flatMap((part) => (part ? within(part).getAllByRole('link') : [])).map((link) => link.textContent);
}

test('whoever must choose a new password sees nothing else, and goes on with it', async () => {
  let due = true;
  answers['GET /api/v1/auth/me'] = () => json(200, { ...ada, must_change_password: due });
  let sent: unknown = null;
  answers['POST /api/v1/auth/password'] = async (request) => {
    sent = await request.json();
    due = false;
    return new Response(null, { status: 204 });
  };
  open('/admin/users');
  await screen.findByRole('heading', { name: 'Choose a new password' });
  expect(screen.queryByRole('navigation')).toBeNull();
  await userEvent.type(screen.getByLabelText('Current password'), 'the old one');
  await userEvent.type(screen.getByLabelText('New password'), 'the new one');
  await userEvent.type(screen.getByLabelText('New password, again'), 'another one');
  await userEvent.click(screen.getByRole('button', { name: 'Change password' }));
  await screen.findByText('The two are not the same.');
  expect(sent).toBeNull();
  await userEvent.clear(screen.getByLabelText('New password, again'));
  await userEvent.type(screen.getByLabelText('New password, again'), 'the new one');
  await userEvent.click(screen.getByRole('button', { name: 'Change password' }));
  expect(await shownPages()).toEqual(['Catalogue', 'My sessions']);
  expect(sent).toEqual({ current_password: 'the old one', new_password: 'the new one' });
});

test('what is wrong with a password is said at its field', async () => {
  answers['GET /api/v1/auth/me'] = () => json(200, { ...ada, must_change_password: true });
  answers['POST /api/v1/auth/password'] = () =>
    json(403, {
      error: {
        code: 'wrong_password',
        message: 'The current password is wrong',
        fields: [{ field: 'current_password', message: 'The current password is wrong' }],
        request_id: 'r',
      },
    });
  open('/');
  await userEvent.type(await screen.findByLabelText('Current password'), 'wrong');
  await userEvent.type(screen.getByLabelText('New password'), 'the new one');
  await userEvent.type(screen.getByLabelText('New password, again'), 'the new one');
  await userEvent.click(screen.getByRole('button', { name: 'Change password' }));
  await screen.findByText('The current password is wrong');
  expect(screen.queryByRole('alert')).toBeNull();
});

test('only the pages that belong to a permission are shown', async () => {
  answers['GET /api/v1/auth/me'] = () => json(200, { ...ada, permissions: ['users:view', 'audit:view'] });
  open('/admin/groups');
  expect(await shownPages()).toEqual(['Catalogue', 'My sessions', 'Users', 'Audit log']);
  await screen.findByText('There is no page at this address');
});

test('a server of the release before says no permissions: its administrators see all pages', async () => {
  answers['GET /api/v1/auth/me'] = () => json(200, { id: 'u', name: 'admin', role: 'admin' });
  open('/');
  expect(await shownPages()).toContain('Groups');
});
