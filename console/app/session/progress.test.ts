import { expect, test } from 'vitest';
import type { ProgressStep, SessionState } from '../api/types';
import { launchSteps } from './progress';

function statuses(step: ProgressStep, state: SessionState = 'starting') {
  return launchSteps({ state, progress: { step, message: '', percent: null } }).map((view) => view.status);
}

test('the step that the server names is under way, those before it are done', () => {
  expect(statuses('container')).toEqual(['done', 'done', 'done', 'active', 'waiting', 'waiting']);
  expect(statuses('reserved')).toEqual(['active', 'waiting', 'waiting', 'waiting', 'waiting', 'waiting']);
});

test('a launch that failed shows how far it came', () => {
  expect(statuses('image', 'failed')).toEqual(['done', 'done', 'failed', 'waiting', 'waiting', 'waiting']);
});

test('a step of a later release claims nothing', () => {
  expect(statuses('warming' as ProgressStep)).toEqual(new Array(6).fill('waiting'));
});
