/** Homes that outlive their sessions: one's own, and everybody's. */

import { keepPreviousData, useInfiniteQuery, useMutation, useQueryClient } from '@tanstack/react-query';
import { api, unwrap } from './client';
import { keys, pages } from './queries';
import type { Home, Page } from './types';

const REFRESH_MS = 10_000;

const homes = ['homes'];

export interface HomeFilter {
  user?: string;
  state?: Home['state'];
  gone?: boolean;
}

/** Everybody's homes that the filter lets through; without one, one's own. */
export function useHomes(everybody: HomeFilter | null) {
  return useInfiniteQuery({
    queryKey: [...homes, everybody],
    queryFn: async ({ pageParam }): Promise<Page<Home>> => {
      const query = { cursor: pageParam, ...(everybody === null ? {} : { all: true, ...everybody }) };
      return (await unwrap(api.GET('/api/v1/homes', { params: { query } }))) as Page<Home>;
    },
    ...pages,
    placeholderData: keepPreviousData,
    refetchInterval: REFRESH_MS,
  });
}

/** Removes a home with everything in it. */
export function useResetHome() {
  return useChange((id: string) => unwrap(api.DELETE('/api/v1/homes/{id}', { params: { path: { id } } })));
}

/** Takes a home on storage from an agent that has not released it. */
export function useReleaseHome() {
  return useChange((id: string) =>
    unwrap(api.POST('/api/v1/homes/{id}/release', { params: { path: { id } }, body: { force: true } })),
  );
}

/** Removes the homes whose user or workspace was deleted. */
export function useDeleteGoneHomes() {
  return useChange(() => unwrap(api.DELETE('/api/v1/homes')));
}

function useChange<Sent, Got>(send: (sent: Sent) => Promise<Got>) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: send,
    onSettled: () => {
      void client.invalidateQueries({ queryKey: homes });
      void client.invalidateQueries({ queryKey: keys.allSessions });
    },
  });
}
