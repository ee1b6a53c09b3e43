/**
 * The API as functions. Every call has a time limit, and every failure is a `Problem`. The session cookie travels by itself;
 * the token that sign-in also returns is for programs and is not kept here.
 */

import createClient from 'openapi-fetch';
import { noteServerDate } from './clock';
import { problemFromAnswer, problemFromSilence } from './problem';
import type { paths } from './schema';
import type {
  ApiKey,
  AuditEntry,
  Connect,
  Explanation,
  Group,
  Me,
  Named,
  NewApiKey,
  Node,
  Page,
  PolicyItem,
  Session,
  Setting,
  SettingValue,
  User,
  Watch,
  Workspace,
  Zone,
  ZoneHealth,
} from './types';

const ANSWER_WITHIN_MS = 15_000;

export const api = createClient<paths>({
  baseUrl: globalThis.location.origin,
  credentials: 'same-origin',
  // Every mutation carries it, those without a body too: a form on another site cannot.
  headers: { 'Content-Type': 'application/json' },
  fetch: limitedFetch,
});

async function limitedFetch(request: Request): Promise<Response> {
  const limit = AbortSignal.timeout(ANSWER_WITHIN_MS);
  try {
    const answer = await fetch(request, { signal: AbortSignal.any([request.signal, limit]) });
    noteServerDate(answer.headers.get('date'));
    return answer;
  } catch (error) {
    if (request.signal.aborted) throw error;
    throw problemFromSilence(limit.aborted);
  }
}

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

export async function unwrap<T>(call: Promise<Answer<T>>): Promise<T> {
  const { data, error, response } = await call;
  if (!response.ok) throw problemFromAnswer(response, error);
  return data as T;
}

export function signIn(username: string, password: string): Promise<Me> {
  return unwrap(api.POST('/api/v1/auth/login', { body: { username, password } })).then((answer) => answer.user);
}

export function signOut(): Promise<unknown> {
  return unwrap(api.POST('/api/v1/auth/logout'));
}

export function getMe(): Promise<Me> {
  return unwrap(api.GET('/api/v1/auth/me'));
}

/** What the caller can launch: in a zone, or in any. */
export async function listWorkspaces(zone: string | null): Promise<Workspace[]> {
  const query = zone === null ? {} : { zone };
  return (await unwrap(api.GET('/api/v1/workspaces', { params: { query } }))).items;
}

export async function listZones(): Promise<Zone[]> {
  return (await unwrap(api.GET('/api/v1/zones'))).items;
}

/** What a page measured; the zone that the server takes for the nearest. */
export async function reportDistances(zones: { zone: string; round_trips_ms: number[] }[]): Promise<string | null> {
  return (await unwrap(api.POST('/api/v1/zones/measurements', { body: { zones } }))).zone ?? null;
}

export interface NodeFilter {
  zone?: string;
  role?: Node['role'];
}

export async function listNodes(filter: NodeFilter, cursor?: string): Promise<Page<Node>> {
  return (await unwrap(api.GET('/api/v1/nodes', { params: { query: { ...filter, cursor } } }))) as Page<Node>;
}

export async function listZoneHealth(): Promise<ZoneHealth[]> {
  return (await unwrap(api.GET('/api/v1/nodes/health'))).items;
}

export interface SessionFilter {
  all?: boolean;
  ended?: boolean;
  /** Of everybody's sessions: one user's, by name or id. */
  user?: string;
  /** Of everybody's sessions: those in one zone. */
  zone?: string;
}

export async function listSessions(filter: SessionFilter, cursor?: string): Promise<Page<Session>> {
  return (await unwrap(api.GET('/api/v1/sessions', { params: { query: { ...filter, cursor } } }))) as Page<Session>;
}

export async function getSession(id: string): Promise<Session> {
  return (await unwrap(api.GET('/api/v1/sessions/{id}', { params: { path: { id } } }))) as Session;
}

export async function getExplanation(id: string): Promise<Explanation> {
  return (await unwrap(api.GET('/api/v1/sessions/{id}/explanation', { params: { path: { id } } }))) as Explanation;
}

export async function endSession(id: string): Promise<Session> {
  return (await unwrap(api.DELETE('/api/v1/sessions/{id}', { params: { path: { id } } }))) as Session;
}

/** Says that somebody is there, where the session would soon count as idle. */
export async function stay(id: string): Promise<Session> {
  return (await unwrap(api.POST('/api/v1/sessions/{id}/stay', { params: { path: { id } } }))) as Session;
}

/** Asks the session's user whether one may look on. */
export async function askToWatch(id: string, reason: string): Promise<Watch> {
  return (await unwrap(api.POST('/api/v1/sessions/{id}/watches', { params: { path: { id } }, body: { reason } }))) as Watch;
}

/** What the person at the desktop says. `seen`: the question is shown, and not answered yet. */
export async function answerWatch(id: string, watch: string, answer: 'seen' | 'allow' | 'decline'): Promise<Session> {
  const call = api.POST('/api/v1/sessions/{id}/watches/{watch}/answer', { params: { path: { id, watch } }, body: { answer } });
  return (await unwrap(call)) as Session;
}

/** Stops it, leaves, or takes the question back. */
export async function endWatch(id: string, watch: string): Promise<Watch> {
  return (await unwrap(api.DELETE('/api/v1/sessions/{id}/watches/{watch}', { params: { path: { id, watch } } }))) as Watch;
}

export function connectWatch(id: string, watch: string, thumbprint: string | null): Promise<Connect> {
  return unwrap(
    api.POST('/api/v1/sessions/{id}/watches/{watch}/connect', {
      params: { path: { id, watch } },
      body: { transport: 'meridian.v1', ...(thumbprint === null ? {} : { jkt: thumbprint }) },
    }),
  );
}

/** `key` makes the call safe to repeat: the server launches once for each. */
export async function launch(workspaceId: string, zone: string | null, key: string, withoutHome = false): Promise<Session> {
  const call = api.POST('/api/v1/sessions', {
    params: { header: { 'Idempotency-Key': key } },
    body: { workspace_id: workspaceId, ...(zone === null ? {} : { zone }), ...(withoutHome ? { home: 'temporary' as const } : {}) },
  });
  return (await unwrap(call)) as Session;
}

export function connect(id: string, thumbprint: string | null): Promise<Connect> {
  return unwrap(
    api.POST('/api/v1/sessions/{id}/connect', {
      params: { path: { id } },
      body: { transport: 'meridian.v1', ...(thumbprint === null ? {} : { jkt: thumbprint }) },
    }),
  );
}

export function changePassword(current: string, next: string): Promise<unknown> {
  return unwrap(api.POST('/api/v1/auth/password', { body: { current_password: current, new_password: next } }));
}

export async function listUsers(search: string, cursor?: string): Promise<Page<User>> {
  return (await unwrap(api.GET('/api/v1/users', { params: { query: { search, cursor } } })));
}

export interface NewUser {
  username: string;
  password: string;
  role: 'admin' | 'user';
  must_change_password: boolean;
}

export async function createUser(body: NewUser): Promise<User> {
  return (await unwrap(api.POST('/api/v1/users', { body })));
}

export interface UserPatch {
  name?: string;
  password?: string;
  must_change_password?: boolean;
  locked?: boolean;
  disabled?: boolean;
  /** Null: groups decide. */
  session_limit?: number | null;
  /** A zone's name or id; null: groups decide. */
  home_zone?: string | null;
}

export async function changeUser(id: string, body: UserPatch): Promise<User> {
  return (await unwrap(api.PATCH('/api/v1/users/{id}', { params: { path: { id } }, body })));
}

/** With the person's sessions, which end by it. */
export function deleteUser(id: string): Promise<unknown> {
  return unwrap(api.DELETE('/api/v1/users/{id}', { params: { path: { id }, query: { end_sessions: true } } }));
}

export async function getPolicy(id: string): Promise<PolicyItem[]> {
  return (await unwrap(api.GET('/api/v1/users/{id}/policy', { params: { path: { id } } }))).items as PolicyItem[];
}

export async function listSettings(): Promise<Setting[]> {
  return (await unwrap(api.GET('/api/v1/policy/settings'))).items as Setting[];
}

export async function listGroups(cursor?: string): Promise<Page<Group>> {
  return (await unwrap(api.GET('/api/v1/groups', { params: { query: { cursor } } }))) as Page<Group>;
}

export interface GroupPatch {
  name?: string;
  priority?: number;
  description?: string;
  settings?: Record<string, SettingValue>;
  permissions?: string[];
}

export async function createGroup(body: { name: string; priority: number }): Promise<Group> {
  return (await unwrap(api.POST('/api/v1/groups', { body }))) as Group;
}

export async function changeGroup(id: string, body: GroupPatch): Promise<Group> {
  const call = api.PATCH('/api/v1/groups/{id}', { params: { path: { id } }, body: body });
  return (await unwrap(call)) as Group;
}

export function deleteGroup(id: string): Promise<unknown> {
  return unwrap(api.DELETE('/api/v1/groups/{id}', { params: { path: { id } } }));
}

export async function listMembers(id: string, cursor?: string): Promise<Page<Named>> {
  return await unwrap(api.GET('/api/v1/groups/{id}/members', { params: { path: { id }, query: { cursor } } }));
}

export function setMember(id: string, user: string, member: boolean): Promise<unknown> {
  const params = { path: { id, user } };
  return member
    ? unwrap(api.PUT('/api/v1/groups/{id}/members/{user}', { params }))
    : unwrap(api.DELETE('/api/v1/groups/{id}/members/{user}', { params }));
}

export async function listKeys(all: boolean, cursor?: string): Promise<Page<ApiKey>> {
  return (await unwrap(api.GET('/api/v1/api-keys', { params: { query: { all, cursor } } }))) as Page<ApiKey>;
}

export interface KeyRequest {
  name: string;
  permissions: string[];
  expires_in_days: number;
  zones: string[] | null;
}

export async function createKey(body: KeyRequest): Promise<NewApiKey> {
  return (await unwrap(api.POST('/api/v1/api-keys', { body }))) as NewApiKey;
}

export function revokeKey(id: string): Promise<unknown> {
  return unwrap(api.DELETE('/api/v1/api-keys/{id}', { params: { path: { id } } }));
}

export interface AuditFilter {
  user?: string;
  key?: string;
  action?: string;
  target?: string;
  outcome?: string;
  /** Times as RFC 3339 has them; the latter is left out. */
  since?: string;
  until?: string;
}

export async function listAudit(filter: AuditFilter, cursor?: string): Promise<Page<AuditEntry>> {
  return (await unwrap(api.GET('/api/v1/audit', { params: { query: { ...filter, cursor } } }))) as Page<AuditEntry>;
}

/** The address of a session's event stream. */
export function sessionEventsUrl(id: string): string {
  return `/api/v1/sessions/${encodeURIComponent(id)}/events`;
}

/** A random key for a call that must not happen twice. `randomUUID` alone would need a secure context. */
export function idempotencyKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
