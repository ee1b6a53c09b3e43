/** How a zone is, summed up from the nodes that are in it. */

import type { Node, Zone } from '../../../api/types';

/** Of each role, so that one may go. */
const LEAST = 2;

export interface Health {
  agents: Count;
  proxies: Count;
  sessions: number;
  streams: number;
  cpu: Share;
  memoryMb: Share;
  /** What an administrator should know at a glance; empty: all is well. */
  worries: string[];
  /** Nobody can launch or connect here. */
  down: boolean;
}

export interface Count {
  ready: number;
  all: number;
}

export interface Share {
  used: number;
  total: number;
}

export function healthOf(zone: Zone, nodes: Node[]): Health {
  const here = nodes.filter((node) => node.zone === zone.zone_name);
  const agents = here.filter((node) => node.role === 'agent');
  const counts = { agents: count(agents), proxies: count(here.filter((node) => node.role === 'proxy')) };
  const relayed = zone.proxy_connections ?? true;
  const down = counts.agents.ready === 0 || (relayed && counts.proxies.ready === 0);
  return {
    ...counts,
    sessions: sum(agents, (node) => node.sessions),
    streams: sum(agents, (node) => node.streams),
    cpu: { used: round(sum(agents, (node) => node.cpu_used)), total: round(sum(agents, (node) => node.capacity?.cpu ?? node.cpu_total)) },
    memoryMb: {
      used: sum(agents, (node) => node.memory_mb_used),
      total: sum(agents, (node) => node.capacity?.memory_mb ?? node.memory_mb_total),
    },
    worries: [
      ...few('agent', counts.agents.ready),
      ...(relayed ? few('proxy', counts.proxies.ready) : []),
      ...here.filter((node) => node.state === 'unreachable').map((node) => `${node.name} is unreachable`),
      ...here.filter((node) => node.problems.length > 0).map((node) => `${node.name} has problems`),
    ],
    down,
  };
}

function few(role: 'agent' | 'proxy', ready: number): string[] {
  const many = role === 'agent' ? 'agents' : 'proxies';
  if (ready === 0) return [`no ${role} can take work`];
  return ready < LEAST ? [`one ${role} can take work: with fewer than ${LEAST} ${many} none may fail`] : [];
}

function count(nodes: Node[]): Count {
  return { ready: nodes.filter((node) => node.state === 'ready').length, all: nodes.length };
}

function sum(nodes: Node[], of: (node: Node) => number): number {
  return nodes.reduce((total, node) => total + of(node), 0);
}

function round(cores: number): number {
  return Number(cores.toFixed(2));
}
