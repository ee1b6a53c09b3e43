/** The console's view of people: accounts, groups, policy, keys, the audit log. */

import { keepPreviousData, useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import * as api from './client';
import { keys, pages, useMe } from './queries';

const people = {
  users: ['users'],
  groups: ['groups'],
  members: (id: string) => ['groups', id, 'members'],
  policy: (id: string) => ['users', id, 'policy'],
  settings: ['policy-settings'],
  apiKeys: ['api-keys'],
  audit: ['audit'],
} as const;

const REFRESH_MS = 15_000;

export function useUsers(search: string) {
  return useInfiniteQuery({
    queryKey: [...people.users, 'list', search],
    queryFn: ({ pageParam }) => api.listUsers(search, pageParam),
    ...pages,
    placeholderData: keepPreviousData,
    refetchInterval: REFRESH_MS,
  });
}

export function usePolicy(id: string) {
  return useQuery({ queryKey: people.policy(id), queryFn: () => api.getPolicy(id) });
}

/** What policy says about the zone of a person's launches. */
export interface ZonePolicy {
  choice: boolean;
  /** Names; empty: any. */
  allowed: string[];
}

/**
 * What policy says about the zone of one's own launches; null while it is not known. A server that says nothing about it lets
 * people choose, and still refuses what it must.
 */
export function useZonePolicy(): ZonePolicy | null {
  const id = useMe().data?.id ?? '';
  const policy = useQuery({ queryKey: people.policy(id), queryFn: () => api.getPolicy(id), enabled: id !== '', staleTime: 60_000 });
  if (policy.isPending) return null;
  const value = (setting: string) => policy.data?.find((item) => item.setting === setting)?.value ?? null;
  const allowed = value('allowed_zones');
  return { choice: value('zone_choice') !== false, allowed: Array.isArray(allowed) ? allowed : [] };
}

export function useSettings() {
  return useQuery({ queryKey: people.settings, queryFn: api.listSettings, staleTime: Number.POSITIVE_INFINITY });
}

export function useGroups() {
  return useInfiniteQuery({
    queryKey: [...people.groups, 'list'],
    queryFn: ({ pageParam }) => api.listGroups(pageParam),
    ...pages,
    refetchInterval: REFRESH_MS,
  });
}

export function useMembers(id: string) {
  return useInfiniteQuery({
    queryKey: people.members(id),
    queryFn: ({ pageParam }) => api.listMembers(id, pageParam),
    ...pages,
  });
}

export function useApiKeys(all: boolean) {
  return useInfiniteQuery({
    queryKey: [...people.apiKeys, all],
    queryFn: ({ pageParam }) => api.listKeys(all, pageParam),
    ...pages,
    refetchInterval: REFRESH_MS,
  });
}

export function useAudit(filter: api.AuditFilter) {
  return useInfiniteQuery({
    queryKey: [...people.audit, filter],
    queryFn: ({ pageParam }) => api.listAudit(filter, pageParam),
    ...pages,
    placeholderData: keepPreviousData,
    // Whoever reads on is not read past.
    refetchInterval: ({ state }) => ((state.data?.pages.length ?? 0) > 1 ? false : REFRESH_MS),
  });
}

/** Whatever was changed, it may show on each of these pages, and in who one is oneself. */
function useReadAgain() {
  const client = useQueryClient();
  const shown = [people.users, people.groups, people.apiKeys, people.audit, keys.me];
  return () => Promise.all(shown.map((queryKey) => client.invalidateQueries({ queryKey })));
}

/** One change to people. */
function useChange<Sent, Got>(send: (sent: Sent) => Promise<Got>) {
  const readAgain = useReadAgain();
  return useMutation({ mutationFn: send, onSettled: () => void readAgain() });
}

/** A change of what a form shows: done when it has been read again, so that the form does not go back to what was there before. */
function useEdit<Sent, Got>(send: (sent: Sent) => Promise<Got>) {
  const readAgain = useReadAgain();
  return useMutation({ mutationFn: send, onSuccess: readAgain, onError: () => void readAgain() });
}

export const useChangePassword = () =>
  useChange(({ current, next }: { current: string; next: string }) => api.changePassword(current, next));
export const useCreateUser = () => useChange(api.createUser);
export const useChangeUser = () =>
  useEdit(({ id, patch }: { id: string; patch: api.UserPatch }) => api.changeUser(id, patch));
export const useDeleteUser = () => useChange(api.deleteUser);
export const useCreateGroup = () => useChange(api.createGroup);
export const useChangeGroup = () =>
  useEdit(({ id, patch }: { id: string; patch: api.GroupPatch }) => api.changeGroup(id, patch));
export const useDeleteGroup = () => useChange(api.deleteGroup);
export const useSetMember = () =>
  useChange(({ id, user, member }: { id: string; user: string; member: boolean }) => api.setMember(id, user, member));
export const useCreateKey = () => useChange(api.createKey);
export const useRevokeKey = () => useChange(api.revokeKey);
