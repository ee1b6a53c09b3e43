/** How an image stands on agents, in words. */

import type { ImageCell } from '../../../api/types';

/** Percent of an image that is there; null while nobody knows how much it is. */
export function percent({ state, done_bytes: done, total_bytes: total }: ImageCell): number | null {
  if (state !== 'pulling' || done === null || total === null || total === 0) return null;
  return Math.min(100, Math.floor((done / total) * 100));
}

export function standing(cell: ImageCell): string {
  const done = percent(cell);
  if (cell.state === 'pulling') return done === null ? 'on its way' : `on its way, ${done} %`;
  if (cell.state === 'failed') return cell.tries !== null && cell.tries > 1 ? `failed ${cell.tries} times` : 'failed';
  return cell.state;
}

/** `present on 2 of 3`; agents that are not heard of are no promise. */
export function summary(cells: ImageCell[]): string {
  if (cells.length === 0) return 'no agent';
  const there = cells.filter(({ state, reachable }) => state === 'present' && reachable).length;
  return there === cells.length ? `present on all ${cells.length}` : `present on ${there} of ${cells.length}`;
}

/** `1.2 GB`, as disks and registries count. */
export function size(bytes: number | null): string {
  if (bytes === null) return '—';
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  return bytes >= 1e6 ? `${Math.round(bytes / 1e6)} MB` : `${Math.max(1, Math.round(bytes / 1e3))} kB`;
}

/** Enough of a digest to tell two apart. */
export function shortDigest(digest: string | null): string {
  return digest === null ? '—' : digest.replace('sha256:', '').slice(0, 12);
}
