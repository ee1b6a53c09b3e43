// @vitest-environment happy-dom
import { cleanup, screen, waitFor } from '@testing-library/react';
import { afterEach, expect, test, vi } from 'vitest';
import AuditLog from './AuditLog';
import { show, stage, write } from './admin.stage';

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

/** What the log was asked for, the last first. */
function questions(): () => Record<string, string>[] {
  stage(() => null);
  const asked: Record<string, string>[] = [];
  const answer = globalThis.fetch as unknown as (request: Request) => Promise<Response>;
  vi.stubGlobal('fetch', (request: Request) => {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname.endsWith('/audit')) asked.unshift(Object.fromEntries(searchParams));
    return answer(request);
  });
  return () => asked;
}

test('the log is asked for a span of time in this browser’s zone, beside every other filter', async () => {
  const asked = questions();
  show(<AuditLog />);
  await waitFor(() => expect(asked()).toEqual([{}]));
  write('From', '2026-11-23T08:00');
  write('Until', '2026-11-23T09:30');
  write('Action', 'launch');
  const since = new Date(2026, 10, 23, 8, 0).toISOString();
  const until = new Date(2026, 10, 23, 9, 30).toISOString();
  await waitFor(() => expect(asked()[0]).toEqual({ since, until, action: 'launch' }));
  write('From', '');
  await waitFor(() => expect(asked()[0]).toEqual({ until, action: 'launch' }));
});

test('an end that is not after the beginning is said to be wrong at its field', () => {
  questions();
  show(<AuditLog />);
  write('From', '2026-11-23T08:00');
  write('Until', '2026-11-23T07:59');
  expect(screen.getByLabelText('Until').getAttribute('aria-invalid')).toBe('true');
  screen.getByText('This is not after From.');
  write('Until', '2026-11-23T08:01');
  expect(screen.queryByText('This is not after From.')).toBeNull();
});
