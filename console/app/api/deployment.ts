/** The deployment as administrators see and change it: zones, nodes, the whole catalogue, and how placement would decide. */

import { keepPreviousData, useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { api, unwrap } from './client';
import { keys, pages } from './queries';
import type { Enrollment, NewWorkspace, Node, NodePatch, NodeRemoval, Page, Preview, Refusal, Requirements, Workspace, WorkspacePatch, Zone, ZoneDeletion, ZonePatch } from './types';

const REFRESH_MS = 10_000;

export function useRequirements(zone: string) {
  return useQuery({
    queryKey: [...keys.zones, zone, 'requirements'],
    queryFn: async () =>
      (await unwrap(api.GET('/api/v1/zones/{id}/requirements', { params: { path: { id: zone } } }))) as Requirements,
    refetchInterval: REFRESH_MS,
  });
}

/** Everything in the catalogue, hidden or not. */
export function useWholeCatalogue() {
  return useQuery({
    queryKey: [...keys.workspaces, 'all'],
    queryFn: async (): Promise<Workspace[]> =>
      (await unwrap(api.GET('/api/v1/workspaces', { params: { query: { all: true } } }))).items,
    refetchInterval: REFRESH_MS,
  });
}

export interface Wish {
  workspace: string;
  /** Empty: the caller. */
  user: string;
  /** Empty: as the server would choose. */
  zone: string;
}

/** What would become of a launch now, with all its candidates, page by page. */
export function usePreview({ workspace, user, zone }: Wish) {
  return useInfiniteQuery({
    queryKey: ['preview', workspace, user, zone],
    queryFn: async ({ pageParam }) => {
      const query = { workspace, cursor: pageParam, ...(user === '' ? {} : { user }), ...(zone === '' ? {} : { zone }) };
      return (await unwrap(api.GET('/api/v1/explain', { params: { query } }))) as Preview;
    },
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page: Preview) => page.next ?? undefined,
    retry: false,
  });
}

/** Launches that were refused, newest first. */
export function useRefusals(user: string) {
  return useInfiniteQuery({
    queryKey: ['refusals', user],
    queryFn: ({ pageParam }) => listRefusals({ cursor: pageParam, ...(user === '' ? {} : { user }) }),
    ...pages,
    placeholderData: keepPreviousData,
    refetchInterval: REFRESH_MS,
    retry: false,
  });
}

/** The one whose error named this request. */
export function useRefusal(requestId: string, enabled: boolean) {
  return useQuery({
    queryKey: ['refusals', 'request', requestId],
    queryFn: async () => (await listRefusals({ request_id: requestId })).items[0] ?? null,
    enabled,
    staleTime: Number.POSITIVE_INFINITY,
  });
}

async function listRefusals(query: { user?: string; request_id?: string; cursor?: string | undefined }): Promise<Page<Refusal>> {
  return (await unwrap(api.GET('/api/v1/refusals', { params: { query } }))) as Page<Refusal>;
}

/** Whatever was changed, it may show on each of these pages. */
function useReadAgain() {
  const client = useQueryClient();
  return () => Promise.all([keys.zones, keys.nodes, keys.workspaces].map((queryKey) => client.invalidateQueries({ queryKey })));
}

/** One change to the deployment. */
function useChange<Sent, Got>(send: (sent: Sent) => Promise<Got>) {
  const readAgain = useReadAgain();
  return useMutation({ mutationFn: send, onSettled: () => void readAgain() });
}

/** A change of what a form shows: done when it has been read again, so that the form does not go back to what was there before. */
function useEdit<Sent, Got>(send: (sent: Sent) => Promise<Got>) {
  const readAgain = useReadAgain();
  return useMutation({ mutationFn: send, onSuccess: readAgain, onError: () => void readAgain() });
}

export const useCreateZone = () =>
  useChange(async (body: ZonePatch): Promise<Zone> => await unwrap(api.POST('/api/v1/zones', { body })));

export const useChangeZone = () =>
  useEdit(async ({ id, patch }: { id: string; patch: ZonePatch }): Promise<Zone> => {
    const call = api.PATCH('/api/v1/zones/{id}', { params: { path: { id } }, body: patch });
    return await unwrap(call);
  });

/** With `drain`, nodes that work are drained and their sessions told to end; until then it says what is left. */
export const useDeleteZone = () =>
  useChange(({ id, drain }: { id: string; drain: boolean }): Promise<ZoneDeletion> =>
    unwrap(api.DELETE('/api/v1/zones/{id}', { params: { path: { id }, query: { drain } } })),
  );

export const useDrainNode = () =>
  useChange(({ id, drain }: { id: string; drain: boolean }): Promise<unknown> => {
    const params = { path: { id } };
    return unwrap(drain ? api.POST('/api/v1/nodes/{id}/drain', { params }) : api.POST('/api/v1/nodes/{id}/undrain', { params }));
  });

/**
 * Removes a node that does nothing any more, or does not answer. One that works is drained and its sessions told to end: until that is done, the
 * answer is what is left. Null: it is gone.
 */
export const useRemoveNode = () =>
  useChange(async (id: string): Promise<NodeRemoval | null> => {
    const call = api.POST('/api/v1/nodes/{id}/remove', { params: { path: { id }, query: { drain: true } } });
    return (await unwrap<NodeRemoval | undefined>(call)) ?? null;
  });

export const useChangeNode = () =>
  useEdit(({ id, patch }: { id: string; patch: NodePatch }): Promise<unknown> =>
    unwrap(api.PATCH('/api/v1/nodes/{id}', { params: { path: { id } }, body: patch })),
  );

/** A single-use token with which a node joins; it is shown once. */
export const useEnroll = () =>
  useChange((body: { role: Node['role']; zone: string }): Promise<Enrollment> =>
    unwrap(api.POST('/api/v1/nodes/enrollments', { body })),
  );

export const useCreateWorkspace = () =>
  useChange((body: NewWorkspace): Promise<Workspace> => unwrap(api.POST('/api/v1/workspaces', { body })));

export const useChangeWorkspace = () =>
  useEdit(async ({ id, patch }: { id: string; patch: WorkspacePatch }): Promise<Workspace> => {
    const call = api.PATCH('/api/v1/workspaces/{id}', { params: { path: { id } }, body: patch });
    return await unwrap(call);
  });

export const useDeleteWorkspace = () =>
  useChange((id: string): Promise<unknown> => unwrap(api.DELETE('/api/v1/workspaces/{id}', { params: { path: { id } } })));
