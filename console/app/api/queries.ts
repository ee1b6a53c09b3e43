/** The console's view of server state: one hook per question, one place that knows the cache's keys. */

import {
  MutationCache,
  QueryCache,
  QueryClient,
  keepPreviousData,
  useInfiniteQuery,
  useMutation,
  useQuery,
  useQueryClient,
} from '@tanstack/react-query';
import { useCallback } from 'react';
import * as api from './client';
import { Problem, asProblem } from './problem';
import type { Me, Page, Session, SessionState } from './types';

const POLL_MS = 1_000;
/** Of a page that nobody looks at. */
const HIDDEN_POLL_MS = 10_000;
const LIVE_REFRESH_MS = 5_000;
const PASSING_REFRESH_MS = 1_500;
const ADMIN_REFRESH_MS = 10_000;
/** One's own live sessions are read whole; this bounds what a server that never stops could make a browser fetch. */
const MAX_PAGES = 50;

export const keys = {
  me: ['me'],
  workspaces: ['workspaces'],
  zones: ['zones'],
  nodes: ['nodes'],
  sessions: (filter: api.SessionFilter) => ['sessions', filter],
  allSessions: ['sessions'],
  session: (id: string) => ['session', id],
  explanation: (id: string) => ['explanation', id],
} as const;

export function createQueryClient(): QueryClient {
  const noteSignOut = (error: Error) => {
    if (!(error instanceof Problem)) return;
    if (error.signedOut) client.setQueryData(keys.me, null);
    // An administrator asked for a new password meanwhile.
    if (error.passwordDue) void client.invalidateQueries({ queryKey: keys.me });
  };
  const client = new QueryClient({
    queryCache: new QueryCache({ onError: noteSignOut }),
    mutationCache: new MutationCache({ onError: noteSignOut }),
    defaultOptions: {
      queries: {
        staleTime: 2_000,
        retry: (failures, error) => failures < 2 && asProblem(error).temporary,
        retryDelay: (failures) => 400 * 2 ** failures,
      },
      // A launch carries its own key and may be repeated; ending a session twice ends it once.
      mutations: { retry: false },
    },
  });
  return client;
}

/** Who is signed in: undefined while unknown, null when nobody is. */
export function useMe() {
  return useQuery({
    queryKey: keys.me,
    queryFn: async (): Promise<Me | null> => {
      try {
        return await api.getMe();
      } catch (error) {
        if (error instanceof Problem && error.signedOut) return null;
        throw error;
      }
    },
    staleTime: Number.POSITIVE_INFINITY,
  });
}

/** Nothing that one person saw is left for the next. */
function become(client: QueryClient, me: Me | null): void {
  client.removeQueries({ predicate: (query) => query.queryKey[0] !== keys.me[0] });
  client.setQueryData(keys.me, me);
}

/** To be called when an answer elsewhere says that nobody is signed in any more. What was seen until then stays. */
export function useNoteSignedOut(): () => void {
  const client = useQueryClient();
  return useCallback(() => void client.setQueryData(keys.me, null), [client]);
}

/** `again` is who was signed in until now. */
export function useSignIn(again: Me | null = null) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (credentials: { username: string; password: string }) =>
      api.signIn(credentials.username, credentials.password),
    onSuccess: (me) => {
      if (me.id !== again?.id) {
        become(client, me);
        return;
      }
      // The same person goes on: what is shown stays, and is brought up to date.
      client.setQueryData(keys.me, me);
      void client.invalidateQueries();
    },
  });
}

export function useSignOut() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: api.signOut,
    onSuccess: () => {
      tellOtherPages();
      become(client, null);
    },
  });
}

/** Whoever signs out on purpose leaves no desktop behind in another tab; a login that merely ends is not like that. */
const SIGN_OUTS = 'meridian.sign-outs';

function tellOtherPages(): void {
  const channel = new BroadcastChannel(SIGN_OUTS);
  channel.postMessage(null);
  channel.close();
}

/** Calls back when somebody signs out in another tab of this browser. */
export function onSignOutElsewhere(callback: () => void): () => void {
  const channel = new BroadcastChannel(SIGN_OUTS);
  channel.onmessage = callback;
  return () => channel.close();
}

/** What can be launched in a zone, or in any. */
export function useWorkspaces(zone: string | null) {
  return useQuery({
    queryKey: [...keys.workspaces, 'launch', zone],
    queryFn: () => api.listWorkspaces(zone),
    staleTime: 60_000,
    placeholderData: keepPreviousData,
  });
}

/** `live` for the page that is about them. */
export function useZones(live = false) {
  return useQuery({
    queryKey: keys.zones,
    queryFn: api.listZones,
    staleTime: live ? ADMIN_REFRESH_MS / 2 : 30_000,
    refetchInterval: live ? ADMIN_REFRESH_MS : false,
  });
}

/** The caller's sessions that are not over. */
export function useLiveSessions() {
  return useQuery({
    queryKey: keys.sessions({}),
    queryFn: () => everyPage((cursor) => api.listSessions({}, cursor)),
    refetchInterval: (query) => (query.state.data?.some(isPassing) ? PASSING_REFRESH_MS : LIVE_REFRESH_MS),
  });
}

export function useSessions(filter: api.SessionFilter) {
  return useInfiniteQuery({
    queryKey: [...keys.sessions(filter), 'pages'],
    queryFn: ({ pageParam }) => api.listSessions(filter, pageParam),
    ...pages,
    placeholderData: keepPreviousData,
    refetchInterval: LIVE_REFRESH_MS,
  });
}

export function useNodes(filter: api.NodeFilter) {
  return useInfiniteQuery({
    queryKey: [...keys.nodes, 'pages', filter],
    queryFn: ({ pageParam }) => api.listNodes(filter, pageParam),
    ...pages,
    placeholderData: keepPreviousData,
    refetchInterval: ADMIN_REFRESH_MS,
  });
}

/** How each zone's nodes stand together. */
export function useZoneHealth(enabled: boolean) {
  return useQuery({ queryKey: [...keys.nodes, 'health'], queryFn: api.listZoneHealth, refetchInterval: ADMIN_REFRESH_MS, enabled });
}

export function useExplanation(id: string | null) {
  return useQuery({
    queryKey: keys.explanation(id ?? ''),
    queryFn: () => api.getExplanation(id ?? ''),
    enabled: id !== null,
    staleTime: 60_000,
  });
}

/** How often a session is asked about: by a page that hears of it otherwise, one that is looked at, one that is hidden. */
export type Asking = 'never' | 'often' | 'seldom';

/**
 * Asked only while somebody is signed in; what was heard before stays. A hidden page goes on asking, since somebody may look on at its desktop and
 * its tab says so.
 */
export function useSessionQuery(id: string, asking: Asking, signedIn: boolean) {
  const every = { never: false, often: POLL_MS, seldom: HIDDEN_POLL_MS } as const;
  return useQuery({
    queryKey: keys.session(id),
    queryFn: () => api.getSession(id),
    enabled: signedIn,
    refetchInterval: ({ state }) => (state.data && isFinal(state.data.state) ? false : every[asking]),
    refetchIntervalInBackground: asking === 'seldom',
  });
}

/** Puts what the server said about a session, by whatever way, where every page sees it. */
export function useNoteSession() {
  const client = useQueryClient();
  return (session: Session) => {
    client.setQueryData(keys.session(session.id), session);
    client.setQueryData(keys.sessions({}), (list: Session[] | undefined) =>
      list?.map((entry) => (entry.id === session.id ? session : entry)).filter((entry) => !isFinal(entry.state)),
    );
  };
}

interface Launch {
  workspaceId: string;
  zone: string | null;
  key: string;
  /** Do without the home that is kept for this person, this once. */
  withoutHome?: boolean;
}

export function useLaunch() {
  const client = useQueryClient();
  const note = useNoteSession();
  return useMutation({
    mutationFn: ({ workspaceId, zone, key, withoutHome }: Launch) => api.launch(workspaceId, zone, key, withoutHome),
    // An answer that got lost is asked for again, with the same key.
    retry: (failures, error) => failures < 3 && asProblem(error).temporary,
    retryDelay: (failures) => 500 * 2 ** failures,
    onSuccess: (session) => {
      note(session);
      void client.invalidateQueries({ queryKey: keys.allSessions });
    },
  });
}

export function useEndSession() {
  const client = useQueryClient();
  const note = useNoteSession();
  return useMutation({
    mutationFn: api.endSession,
    retry: (failures, error) => failures < 2 && asProblem(error).temporary,
    onSuccess: (session) => {
      note(session);
      void client.invalidateQueries({ queryKey: keys.allSessions });
    },
  });
}

export function useStay() {
  const note = useNoteSession();
  return useMutation({
    mutationFn: api.stay,
    retry: (failures, error) => failures < 2 && asProblem(error).temporary,
    onSuccess: note,
  });
}

export function useAskToWatch() {
  return useMutation({ mutationFn: ({ id, reason }: { id: string; reason: string }) => api.askToWatch(id, reason) });
}

/** The answer of the person at the desktop. Said again, it changes nothing. */
export function useAnswerWatch() {
  const note = useNoteSession();
  return useMutation({
    mutationFn: ({ id, watch, answer }: { id: string; watch: string; answer: 'seen' | 'allow' | 'decline' }) =>
      api.answerWatch(id, watch, answer),
    retry: (failures, error) => failures < 2 && asProblem(error).temporary,
    onSuccess: note,
  });
}

/** Whoever ends it, what it came to is seen at once. */
export function useEndWatch() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ id, watch }: { id: string; watch: string }) => api.endWatch(id, watch),
    retry: (failures, error) => failures < 2 && asProblem(error).temporary,
    onSuccess: (ended, { id }) => {
      client.setQueryData(keys.session(id), (session: Session | undefined) =>
        session && { ...session, watches: session.watches?.map((watch) => (watch.id === ended.id ? ended : watch)) ?? [] },
      );
      void client.invalidateQueries({ queryKey: keys.session(id) });
    },
  });
}

export function isFinal(state: SessionState): boolean {
  return state === 'ended' || state === 'failed' || state === 'lost';
}

function isPassing(session: Session): boolean {
  return session.state === 'starting' || session.state === 'ending';
}

export const pages = {
  initialPageParam: undefined as string | undefined,
  getNextPageParam: (page: Page<unknown>) => page.next ?? undefined,
};

async function everyPage<T>(read: (cursor?: string) => Promise<Page<T>>): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const answer = await read(cursor);
    items.push(...answer.items);
    cursor = answer.next ?? undefined;
    if (cursor === undefined) break;
  }
  return items;
}
