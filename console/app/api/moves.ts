/** People moved from zone to zone: looked at, made, listed, undone. */

import { useInfiniteQuery, useMutation, useQueryClient } from '@tanstack/react-query';
import { api, unwrap } from './client';
import { keys, pages } from './queries';
import type { Move, Moved, Page } from './types';

const REFRESH_MS = 10_000;
const moves = ['moves'] as const;

/** Whom to move, by name or id, and where. */
export interface Wanted {
  kind: 'user' | 'group' | 'zone';
  subject: string;
  to: string;
}

const bodyOf = ({ kind, subject, to }: Wanted, dryRun: boolean) => ({ [kind]: subject, to, dry_run: dryRun });

/** What a move would do. Nothing is changed by asking. */
export function useLookAtMove() {
  return useMutation({
    mutationFn: async (wanted: Wanted) => (await unwrap(api.POST('/api/v1/reassignments', { body: bodyOf(wanted, true) }))) as Moved,
  });
}

export function useMove() {
  return useChange(async (wanted: Wanted) => (await unwrap(api.POST('/api/v1/reassignments', { body: bodyOf(wanted, false) }))) as Moved);
}

export function useUndoMove() {
  return useChange((id: string) => unwrap(api.POST('/api/v1/reassignments/{id}/undo', { params: { path: { id } } })));
}

/** Those that were made, the latest first. */
export function useMoves() {
  return useInfiniteQuery({
    queryKey: moves,
    queryFn: async ({ pageParam }) =>
      (await unwrap(api.GET('/api/v1/reassignments', { params: { query: pageParam === undefined ? {} : { cursor: pageParam } } }))) as Page<Move>,
    ...pages,
    refetchInterval: REFRESH_MS,
  });
}

function useChange<Sent, Got>(send: (sent: Sent) => Promise<Got>) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: send,
    onSettled: () => {
      for (const queryKey of [moves, keys.allSessions, ['users']]) void client.invalidateQueries({ queryKey });
    },
  });
}
