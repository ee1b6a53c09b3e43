import type { Home } from '../api/types';

/** How a home stands, in the words of a page. A state of a later release is named as it is. */
export function homeState(state: string): string {
  const words: Record<string, string> = {
    free: 'not in use',
    in_use: 'in use',
    put_away: 'being put away',
    away: 'nobody who has it answers',
    held: 'held by a silent agent',
    lost: 'gone with its agent',
    removing: 'being removed',
  };
  return words[state] ?? state.replaceAll('_', ' ');
}

/** Whether a home can be reset now; while a session has it, it cannot. */
export function isResettable(state: Home['state']): boolean {
  return state === 'free' || state === 'away' || state === 'lost';
}

export function homeSize(mb: number): string {
  return mb >= 1024 ? `${Number((mb / 1024).toFixed(1))} GB` : `${mb} MB`;
}
