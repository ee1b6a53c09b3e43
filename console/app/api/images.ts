/** Images: what zones want, what lies on their agents, and who the agents are at registries. */

import { keepPreviousData, useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { api, unwrap } from './client';
import { pages } from './queries';
import type { ImageRow, Page, RegistryLogin } from './types';

const REFRESH_MS = 10_000;
/** While something is on its way. */
const MOVING_MS = 2_000;

const images = ['images'];
const logins = (zone: string) => ['registry-logins', zone];

/** Zone by image by agent; an empty zone is every zone. */
export function useImages(zone: string) {
  return useInfiniteQuery({
    queryKey: [...images, zone],
    queryFn: async ({ pageParam }): Promise<Page<ImageRow>> => {
      const query = { cursor: pageParam, ...(zone === '' ? {} : { zone }) };
      return (await unwrap(api.GET('/api/v1/images', { params: { query } }))) as Page<ImageRow>;
    },
    ...pages,
    placeholderData: keepPreviousData,
    refetchInterval: ({ state }) => {
      const moves = state.data?.pages.some((page) => page.items.some(isMoving));
      return moves ? MOVING_MS : REFRESH_MS;
    },
  });
}

function isMoving(row: ImageRow): boolean {
  return row.agents.some(({ state }) => state === 'queued' || state === 'pulling' || (row.wanted && state === 'absent'));
}

export function useLogins(zone: string) {
  return useQuery({
    queryKey: logins(zone),
    queryFn: async (): Promise<RegistryLogin[]> =>
      (await unwrap(api.GET('/api/v1/zones/{id}/registries', { params: { path: { id: zone } } }))).items,
    enabled: zone !== '',
  });
}

interface Wish {
  zone: string;
  reference: string;
}

export function useWant() {
  return useChange(({ zone, reference }: Wish) =>
    unwrap(api.PUT('/api/v1/zones/{id}/images', { params: { path: { id: zone } }, body: { reference } })),
  );
}

export function useUnwant() {
  return useChange(({ zone, reference }: Wish) =>
    unwrap(api.DELETE('/api/v1/zones/{id}/images', { params: { path: { id: zone }, query: { reference } } })),
  );
}

export interface NewLogin {
  zone: string;
  host: string;
  username: string;
  password: string;
}

export function useSetLogin() {
  return useChange(({ zone, ...body }: NewLogin) =>
    unwrap(api.PUT('/api/v1/zones/{id}/registries', { params: { path: { id: zone } }, body })),
  );
}

export function useDropLogin() {
  return useChange(({ zone, host }: { zone: string; host: string }) =>
    unwrap(api.DELETE('/api/v1/zones/{id}/registries', { params: { path: { id: zone }, query: { host } } })),
  );
}

function useChange<Sent extends { zone: string }>(send: (sent: Sent) => Promise<unknown>) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: send,
    onSettled: (_answer, _error, { zone }) => {
      for (const queryKey of [images, logins(zone)]) void client.invalidateQueries({ queryKey });
    },
  });
}
