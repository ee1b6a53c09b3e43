import type { ProgressStep, Session } from '../api/types';

export type StepStatus = 'done' | 'active' | 'waiting' | 'failed';

export interface StepView {
  step: ProgressStep;
  label: string;
  status: StepStatus;
}

const labels: readonly [ProgressStep, string][] = [
  ['reserved', 'Reserve a place'],
  ['pushed', 'Tell the agent'],
  ['image', 'Have the image ready'],
  ['container', 'Start the workspace'],
  ['display', 'Wait for its display'],
  ['ready', 'Connect to it'],
];

/**
 * The launch as a list of steps. The server names the step it is at; those before it are done. A step that the server skips,
 * such as an image that is there already, counts as done with the rest.
 */
export function launchSteps(session: Pick<Session, 'state' | 'progress'>): StepView[] {
  const at = labels.findIndex(([step]) => step === session.progress.step);
  const failed = session.state === 'failed' || session.state === 'lost';
  return labels.map(([step, label], index) => ({ step, label, status: statusOf(index, at, failed) }));
}

function statusOf(index: number, at: number, failed: boolean): StepStatus {
  if (index < at) return 'done';
  if (index > at) return 'waiting';
  return failed ? 'failed' : 'active';
}
