// @vitest-environment happy-dom
import { MantineProvider } from '@mantine/core';
import { QueryClientProvider } from '@tanstack/react-query';
import { cleanup, render, screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createQueryClient, useMe } from '../api/queries';
import { SignIn } from './SignIn';

const answers: Response[] = [];
const requests: Request[] = [];

beforeEach(() => {
  answers.length = requests.length = 0;
  vi.stubGlobal('fetch', (request: Request) => {
    requests.push(request);
    return Promise.resolve(answers.shift() ?? new Response(null, { status: 500 }));
  });
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

function json(status: number, value: unknown, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(value), { status, headers: { 'Content-Type': 'application/json', ...headers } });
}

function Who() {
  const me = useMe();
  return <p>{me.data ? `hello ${me.data.name}` : 'nobody'}</p>;
}

function show() {
  answers.push(json(401, { error: { code: 'unauthenticated', message: 'No.', request_id: 'r' } }));
  render(
    <MantineProvider>
      <QueryClientProvider client={createQueryClient()}>
        <SignIn />
        <Who />
      </QueryClientProvider>
    </MantineProvider>,
  );
}

async function submit() {
  await userEvent.type(screen.getByLabelText('Username'), 'ada');
  await userEvent.type(screen.getByLabelText('Password'), 'secret');
  await userEvent.click(screen.getByRole('button', { name: 'Sign in' }));
}

test('the fields and the button are named exactly by what they show', () => {
  show();
  expect(screen.getAllByLabelText('Username')).toHaveLength(1);
  expect(screen.getByLabelText('Password').getAttribute('type')).toBe('password');
  expect(screen.getByRole('button', { name: 'Sign in' }).getAttribute('type')).toBe('submit');
  expect(document.querySelector('form')?.querySelectorAll('button')).toHaveLength(1);
});

test('the right password makes the person known', async () => {
  show();
  answers.push(json(200, { token: 't', user: { id: 'u', name: 'ada', role: 'user' } }));
  await submit();
  await screen.findByText('hello ada');
  const login = requests.at(-1);
  expect(login?.method).toBe('POST');
  expect(login?.headers.get('Content-Type')).toBe('application/json');
  expect(await login?.json()).toEqual({ username: 'ada', password: 'secret' });
});

test('a wrong password is said to be wrong, and the person stays', async () => {
  show();
  answers.push(
    json(401, { error: { code: 'bad_credentials', message: 'Wrong.', hint: 'Check both.', request_id: 'req-1' } }),
  );
  await submit();
  const alert = await screen.findByRole('alert');
  expect(alert.textContent).toContain('Wrong.');
  expect(alert.textContent).toContain('Check both.');
  expect(screen.getByText('nobody')).toBeTruthy();
});

test('throttled: the button waits as long as the server asked', async () => {
  show();
  const error = { code: 'throttled', message: 'Too many attempts.', hint: 'Wait.', request_id: 'req-1' };
  answers.push(json(429, { error }, { 'Retry-After': '30' }));
  await submit();
  await screen.findByText(/try again in (30|29) s/);
  await waitFor(() => expect(screen.getByRole('button', { name: 'Sign in' })).toHaveProperty('disabled', true));
});

test('empty fields are pointed out without asking the server', async () => {
  show();
  await userEvent.click(screen.getByRole('button', { name: 'Sign in' }));
  expect(screen.getByText('Enter your user name.')).toBeTruthy();
  expect(requests.filter((request) => request.method === 'POST')).toHaveLength(0);
});
