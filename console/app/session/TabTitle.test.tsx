// @vitest-environment happy-dom
import { cleanup, render } from '@testing-library/react';
import { afterEach, expect, test } from 'vitest';
import type { Session, Watch } from '../api/types';
import { TabTitle } from './TabTitle';

afterEach(cleanup);

function watch(name: string, extra: Partial<Watch>): Watch {
  const soon = new Date(Date.now() + 60_000).toISOString();
  return { id: name, watcher: { id: name, name }, answer_by: soon, until: soon, began_at: soon, ...extra } as Watch;
}

function titleOf(...watches: Watch[]): string {
  render(<TabTitle session={{ id: 's', name: 'Desktop', watches } as unknown as Session} />);
  return document.title;
}

test('it is the name of the session, where nobody looks on', () => {
  expect(titleOf()).toBe('Desktop · Meridian');
});

test('whoever looks on is named first, so that a narrow tab still shows it', () => {
  expect(titleOf(watch('grace', { state: 'allowed' }))).toBe('● grace is looking on · Desktop · Meridian');
});

test('two are both named', () => {
  const both = [watch('grace', { state: 'allowed' }), watch('hedy', { state: 'allowed' })];
  expect(titleOf(...both)).toBe('● grace and hedy are looking on · Desktop · Meridian');
});

test('so is whoever asks, before anybody who looks on: the question does not wait', () => {
  expect(titleOf(watch('hedy', { state: 'allowed' }), watch('grace', { state: 'asked' }))).toBe(
    '● grace asks to look on · Desktop · Meridian',
  );
});

test('whose time is over is named no more', () => {
  const past = new Date(Date.now() - 1_000).toISOString();
  expect(titleOf(watch('grace', { state: 'allowed', until: past }))).toBe('Desktop · Meridian');
});

test('before anything is known of it, the page is that of a session', () => {
  render(<TabTitle session={undefined} />);
  expect(document.title).toBe('Session · Meridian');
});
