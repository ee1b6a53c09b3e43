/** What the person who is signed in may administer. The server decides; this is about which pages are worth showing. */

import type { Me } from './types';

const resources = ['users', 'groups', 'zones', 'nodes', 'workspaces', 'images'] as const;
const actions = ['view', 'modify', 'create', 'delete'] as const;
/** The columns of a form; the last is of sessions alone. */
export const columns = [...actions, 'watch'] as const;

/** Every permission there is, in the order of a form. */
export const permissions: string[] = [
  ...resources.flatMap((resource) => actions.map((action) => `${resource}:${action}`)),
  ...['sessions:view', 'sessions:modify', 'sessions:delete', 'sessions:watch', 'audit:view', 'settings:view', 'settings:modify'],
];

/** What an API key may say besides: to use its owner's own sessions. */
export const OWN_SESSIONS = 'sessions:own';

/** A server of the release before says no permissions; its administrators have all of them. */
export function may(me: Me | null, permission: string): boolean {
  if (me === null) return false;
  return me.permissions?.includes(permission) ?? me.role === 'admin';
}
