// @vitest-environment happy-dom
import { MantineProvider } from '@mantine/core';
import { QueryClientProvider } from '@tanstack/react-query';
import { act, cleanup, fireEvent, render, screen, waitFor } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createQueryClient } from '../api/queries';
import type { Session, Watch } from '../api/types';
import { WatchBanner } from './WatchBanner';
import { WatchQuestion } from './WatchQuestion';

const asked: string[] = [];
let told = 0;

beforeEach(() => {
  vi.stubGlobal('fetch', async (request: Request) => {
    const { pathname } = new URL(request.url);
    asked.push([request.method, pathname, await request.text()].filter(Boolean).join(' '));
    const answer = request.method === 'DELETE' ? watch({ state: 'ended' }) : session(watch());
    return new Response(JSON.stringify(answer), { headers: { 'Content-Type': 'application/json' } });
  });
});

afterEach(() => {
  cleanup();
  hide(false);
  vi.unstubAllGlobals();
  asked.length = 0;
  told = 0;
});

function hide(hidden: boolean) {
  Object.defineProperty(document, 'visibilityState', { configurable: true, value: hidden ? 'hidden' : 'visible' });
  document.dispatchEvent(new Event('visibilitychange'));
}

function inSeconds(seconds: number): string {
  return new Date(Date.now() + seconds * 1000).toISOString();
}

function watch(extra: Partial<Watch> = {}): Watch {
  const watcher = { id: 'u2', name: 'grace' };
  const times = { asked_at: inSeconds(0), answer_by: inSeconds(60), until: null, began_at: null, ended_at: null };
  return { id: 'w', watcher, reason: 'your ticket 17', state: 'asked', seen: false, because: null, ...times, ...extra };
}

function session(...watches: Watch[]): Session {
  return { id: 's', name: 'Desktop', state: 'running', user: { id: 'u', name: 'ada' }, watches } as unknown as Session;
}

function show(...watches: Watch[]) {
  const stop = () => {
    told += 1;
    return true;
  };
  render(
    <MantineProvider>
      <QueryClientProvider client={createQueryClient()}>
        <WatchBanner session={session(...watches)} onStop={stop} />
        <WatchQuestion session={session(...watches)} onGone={() => undefined} />
      </QueryClientProvider>
    </MantineProvider>,
  );
}

test('the question says who and why, takes the keys itself, and an Enter that was meant for the desktop answers nothing', async () => {
  show(watch());
  const dialog = screen.getByRole('alertdialog', { name: 'grace asks to look on' });
  expect(dialog.textContent).toContain('your ticket 17');
  expect(document.activeElement).toBe(dialog);
  fireEvent.keyDown(dialog, { key: 'Enter' });
  fireEvent.keyUp(dialog, { key: 'Enter' });
  await waitFor(() => expect(asked).toEqual(['POST /api/v1/sessions/s/watches/w/answer {"answer":"seen"}']));
});

test.each([
  ['Allow', 'allow'],
  ['Decline', 'decline'],
])('%s is said as it is', async (button, answer) => {
  show(watch());
  fireEvent.click(screen.getByRole('button', { name: button }));
  await waitFor(() => expect(asked).toContain(`POST /api/v1/sessions/s/watches/w/answer {"answer":"${answer}"}`));
});

test('of two questions the first is asked first, and one whose time is over is none', () => {
  show(watch({ id: 'late', answer_by: inSeconds(-1) }), watch({ id: 'x', watcher: { id: 'u3', name: 'hedy' } }), watch());
  expect(screen.getAllByRole('alertdialog')).toHaveLength(1);
  expect(screen.getByRole('alertdialog', { name: 'hedy asks to look on' })).toBeTruthy();
});

test('whoever looks on is named as long as they do, and stopped here and at the control plane', async () => {
  show(watch({ state: 'allowed', until: inSeconds(3000), began_at: inSeconds(0) }));
  expect(screen.getByRole('status').textContent).toContain('grace is looking on');
  fireEvent.click(screen.getByRole('button', { name: 'Stop grace from looking on' }));
  expect(told).toBe(1);
  await waitFor(() => expect(asked).toContain('DELETE /api/v1/sessions/s/watches/w'));
});

test('nobody is named who does not look on', () => {
  show(watch({ state: 'ended' }), watch({ state: 'declined' }), watch({ state: 'allowed', until: inSeconds(-1) }));
  expect(screen.getByRole('status').textContent).toBe('');
  expect(screen.queryByRole('alertdialog')).toBeNull();
});

test('a page that nobody looks at does not say that the question is seen, until it is', async () => {
  hide(true);
  show(watch());
  await new Promise(requestAnimationFrame);
  expect(asked).toEqual([]);
  act(() => hide(false));
  await waitFor(() => expect(asked).toEqual(['POST /api/v1/sessions/s/watches/w/answer {"answer":"seen"}']));
});
