/** What the mock has to show: two zones, their nodes, three workspaces. */

export const workspaces = [
  { id: 'wsp-desktop', name: 'Desktop', description: 'A full desktop with terminal, files and an editor.', image: 'meridian/desktop:1', cpu: 2, memory_mb: 2048, gpu: 0, network: 'internet', icon: 'desktop' },
  { id: 'wsp-browser', name: 'Browser', description: 'Chromium in a sandbox of its own, away from this computer.', image: 'meridian/browser:1', cpu: 2, memory_mb: 3072, gpu: 0, network: 'internet', icon: 'browser' },
  { id: 'wsp-terminal', name: 'Terminal', description: 'A shell and nothing else. Starts fastest.', image: 'meridian/terminal:1', cpu: 0.5, memory_mb: 512, gpu: 0, network: 'none', icon: 'terminal' },
];

function zone(name, extra) {
  return {
    id: `zon-${name}`,
    name,
    zone_name: name,
    default: false,
    proxy_hostname: '$request_host$',
    proxy_path: `desktop-${name}`,
    proxy_port: 0,
    load_strategy: 'least_load',
    search_alternate_zones: true,
    alternate_zones: [],
    isolated: false,
    allow_origin_domain: '$request_host$',
    upstream_auth_address: '$request_host$',
    prioritize_static_agents: false,
    proxy_connections: true,
    outage_grace: 86400,
    private_balancer: `balance.${name}.internal:7443`,
    nodes_ready: 2,
    ...extra,
  };
}

export const zones = [
  zone('london', { default: true, alternate_zones: ['virginia'] }),
  zone('virginia', { load_strategy: 'round_robin' }),
  zone('singapore', { isolated: true, search_alternate_zones: false, outage_grace: 0, nodes_ready: 0 }),
];

export const users = [
  { id: 'usr-admin', name: 'admin', role: 'admin', disabled: false },
  { id: 'usr-ada', name: 'ada', role: 'user', disabled: false },
];

const images = workspaces.map(({ image }, index) => ({ reference: image, image_id: `sha256:${String(index + 3).repeat(64)}` }));

export function nodes() {
  const ago = (seconds) => new Date(Date.now() - seconds * 1000).toISOString();
  const node = (name, role, zoneName, extra = {}) => ({
    id: `nod-${name}`,
    name,
    role,
    zone: zoneName,
    state: 'ready',
    version: '0.1.0',
    last_seen_at: ago(1),
    address: `${name}.internal:7000`,
    sessions: 0,
    streams: 0,
    cpu_total: 0,
    cpu_used: 0,
    memory_mb_total: 0,
    memory_mb_used: 0,
    images: [],
    home_storage: null,
    network_modes: [],
    quarantined: [],
    problems: [],
    ...extra,
  });
  const reports = { home_storage: 'sized home volume', network_modes: ['none', 'internet'] };
  return [
    node('web-1', 'web', null),
    node('proxy-london-1', 'proxy', 'london'),
    node('agent-london-1', 'agent', 'london', { sessions: 2, cpu_total: 8, cpu_used: 4.5, memory_mb_total: 16384, memory_mb_used: 5632, images, ...reports }),
    node('proxy-virginia-1', 'proxy', 'virginia', { state: 'draining', streams: 3 }),
    node('agent-virginia-1', 'agent', 'virginia', {
      state: 'unreachable',
      last_seen_at: ago(320),
      sessions: 1,
      cpu_total: 4,
      cpu_used: 4,
      memory_mb_total: 8192,
      memory_mb_used: 7680,
      images,
      ...reports,
      quarantined: ['0192f0c1-5a7e-7c3b-9a51-3a8e2b1c4d5e'],
      problems: [{ code: 'engine', message: 'Docker Engine does not answer on its socket.' }],
    }),
  ];
}

export function explanation(session) {
  return {
    chosen: { zone: session.zone, agent: session.agent },
    counts: { chosen: 1, draining: 1, '0.5 core short': 2 },
    candidates: [
      { zone: session.zone, agent: `agent-${session.zone}-1`, verdict: 'chosen' },
      { zone: session.zone, agent: `agent-${session.zone}-2`, verdict: 'draining' },
      { zone: 'virginia', agent: 'agent-virginia-1', verdict: '0.5 core short' },
      { zone: 'virginia', agent: 'agent-virginia-2', verdict: '0.5 core short' },
    ],
  };
}

/** The refusal of a launch when nothing fits. */
export const fullHouse = {
  code: 'no_capacity',
  message: 'There is no room for Desktop at the moment.',
  hop: 'placement in zone london',
  hint: 'End a session that you no longer need, choose another zone, or try again later.',
  explanation: [
    { zone: 'london', agent: 'agent-london-1', verdict: '0.5 core short' },
    { zone: 'london', agent: 'agent-london-2', verdict: 'draining' },
    { zone: 'virginia', agent: 'agent-virginia-1', verdict: 'no image yet' },
  ],
};
