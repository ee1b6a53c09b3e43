/** How the zones of the mock stand, summed up from its nodes. */

const NAMED = 5;

export function healthOf(zone, nodes) {
  const here = nodes.filter((node) => node.zone === zone.zone_name);
  const sum = (of, what) => of.reduce((total, node) => total + (node[what] ?? 0), 0);
  const some = (of) => ({ count: of.length, first: of.slice(0, NAMED).map((node) => node.name) });
  const ready = (role) => {
    const all = here.filter((node) => node.role === role);
    return { ready: all.filter((node) => node.state === 'ready').length, all: all.length };
  };
  const agents = here.filter((node) => node.role === 'agent');
  const working = agents.filter((node) => node.state === 'ready');
  return {
    zone: zone.zone_name,
    agents: ready('agent'),
    proxies: ready('proxy'),
    sessions: sum(agents, 'sessions'),
    streams: sum(agents, 'streams'),
    cpu_used: sum(working, 'cpu_used'),
    cpu_total: sum(working, 'cpu_total'),
    memory_mb_used: sum(working, 'memory_mb_used'),
    memory_mb_total: sum(working, 'memory_mb_total'),
    unreachable: some(here.filter((node) => node.state === 'unreachable')),
    troubled: some(here.filter((node) => node.problems.length > 0)),
  };
}
