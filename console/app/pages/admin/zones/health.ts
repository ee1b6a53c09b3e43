/** What an administrator should know of a zone at a glance. */

import type { Zone, ZoneHealth } from '../../../api/types';

/** Of each role, so that one may go. */
const LEAST = 2;

export interface Judgement {
  /** Empty: all is well. */
  worries: string[];
  /** Nobody can launch or connect here. */
  down: boolean;
}

export function judge(zone: Zone, health: ZoneHealth): Judgement {
  const relayed = zone.proxy_connections ?? true;
  return {
    worries: [
      ...few('agent', health.agents.ready),
      ...(relayed ? few('proxy', health.proxies.ready) : []),
      ...told(health.unreachable, ['is unreachable', 'are unreachable']),
      ...told(health.troubled, ['has problems', 'have problems']),
    ],
    down: health.agents.ready === 0 || (relayed && health.proxies.ready === 0),
  };
}

function few(role: 'agent' | 'proxy', ready: number): string[] {
  const many = role === 'agent' ? 'agents' : 'proxies';
  if (ready === 0) return [`no ${role} can take work`];
  return ready < LEAST ? [`one ${role} can take work: with fewer than ${LEAST} ${many} none may fail`] : [];
}

/** The first few by name, and how many more. */
function told({ count, first }: ZoneHealth['unreachable'], [is, are]: [string, string]): string[] {
  const more = count - first.length;
  return [...first.map((name) => `${name} ${is}`), ...(more > 0 ? [`${more} more ${more === 1 ? is : are}`] : [])];
}
