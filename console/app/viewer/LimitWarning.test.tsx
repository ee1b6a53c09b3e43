// @vitest-environment happy-dom
import { MantineProvider } from '@mantine/core';
import { QueryClientProvider } from '@tanstack/react-query';
import { cleanup, fireEvent, render, screen, waitFor } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createQueryClient } from '../api/queries';
import type { Session } from '../api/types';
import { LimitWarning } from './LimitWarning';

const asked: string[] = [];

beforeEach(() => {
  vi.stubGlobal('fetch', (request: Request) => {
    asked.push(`${request.method} ${new URL(request.url).pathname}`);
    return Promise.resolve(new Response(JSON.stringify(session(600)), { headers: { 'Content-Type': 'application/json' } }));
  });
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
  asked.length = 0;
});

function session(idleSeconds: number): Session {
  const idle_ends_at = new Date(Date.now() + idleSeconds * 1000).toISOString();
  return { id: 's', name: 'Desktop', state: 'running', expires_at: null, idle_ends_at, idle_action: 'disconnect' } as Session;
}

function show(idleSeconds: number) {
  render(
    <MantineProvider>
      <QueryClientProvider client={createQueryClient()}>
        <LimitWarning session={session(idleSeconds)} />
      </QueryClientProvider>
    </MantineProvider>,
  );
}

test('nothing is asked while there is time, whatever the person does', () => {
  show(600);
  fireEvent.pointerMove(document.body);
  expect(screen.queryByRole('button')).toBeNull();
  expect(asked).toEqual([]);
});

test('the button answers', async () => {
  show(20);
  fireEvent.click(await screen.findByRole('button', { name: 'Stay' }));
  await waitFor(() => expect(asked).toEqual(['POST /api/v1/sessions/s/stay']));
});

test('so does the first movement, once', async () => {
  show(20);
  await screen.findByRole('button', { name: 'Stay' });
  fireEvent.pointerMove(document.body);
  fireEvent.pointerMove(document.body);
  await waitFor(() => expect(asked).toEqual(['POST /api/v1/sessions/s/stay']));
});
