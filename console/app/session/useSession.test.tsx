// @vitest-environment happy-dom
import { QueryClientProvider } from '@tanstack/react-query';
import { act, cleanup, renderHook, waitFor } from '@testing-library/react';
import type { ReactNode } from 'react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createQueryClient } from '../api/queries';
import { useSession } from './useSession';

vi.setConfig({ testTimeout: 60_000 });

let streams: Events[] = [];
class Events {
  onmessage: ((event: { data: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  constructor() {
    streams.push(this);
  }
  close() {
    this.onmessage = null;
  }
}

beforeEach(() => {
  streams = [];
  vi.stubGlobal('EventSource', Events);
  // The Web App refuses to answer, and not for a moment only: nothing is tried again by itself.
  vi.stubGlobal('fetch', () => Promise.resolve(new Response('{}', { status: 500 })));
});

afterEach(() => {
  cleanup();
  hide(false);
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function hide(hidden: boolean) {
  Object.defineProperty(document, 'visibilityState', { configurable: true, value: hidden ? 'hidden' : 'visible' });
  document.dispatchEvent(new Event('visibilitychange'));
}

test('a Web App that sends events is there, whatever became of the last question', async () => {
  const client = createQueryClient();
  const wrapper = ({ children }: { children: ReactNode }) => <QueryClientProvider client={client}>{children}</QueryClientProvider>;
  const { result } = renderHook(() => useSession('s', true), { wrapper });
  await waitFor(() => expect(result.current.reachable).toBe(false));
  act(() => streams.at(-1)?.onmessage?.({ data: JSON.stringify({ id: 's', state: 'running' }) }));
  expect(result.current.reachable).toBe(true);
  act(() => streams.at(-1)?.onerror?.());
  await waitFor(() => expect(result.current.reachable).toBe(false));
});

test('a page that nobody looks at goes on asking, since somebody may look on at its desktop', async () => {
  vi.useFakeTimers();
  let asked = 0;
  vi.stubGlobal('fetch', () => {
    asked += 1;
    return Promise.resolve(new Response(JSON.stringify({ id: 's', state: 'running' }), { headers: { 'Content-Type': 'application/json' } }));
  });
  hide(true);
  const client = createQueryClient();
  const wrapper = ({ children }: { children: ReactNode }) => <QueryClientProvider client={client}>{children}</QueryClientProvider>;
  renderHook(() => useSession('s', true), { wrapper });
  await act(() => vi.advanceTimersByTimeAsync(100));
  const before = asked;
  await act(() => vi.advanceTimersByTimeAsync(30_000));
  expect(asked - before).toBe(3);
});
