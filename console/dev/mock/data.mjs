/** What the mock has to show: three zones, their nodes, four workspaces. */

/** For everybody, everywhere. */
const open = { groups: null, zones: null, required_labels: {}, image_policy: null };

export const workspaces = [
  { id: 'wsp-desktop', name: 'Desktop', description: 'A full desktop with terminal, files and an editor.', image: 'meridian/desktop:1', cpu: 2, memory_mb: 2048, gpu: 0, network: 'internet', icon: 'desktop', ...open },
  { id: 'wsp-browser', name: 'Browser', description: 'Chromium in a sandbox of its own, away from this computer.', image: 'meridian/browser:1', cpu: 2, memory_mb: 3072, gpu: 0, network: 'internet', icon: 'browser', ...open, zones: ['london', 'virginia'] },
  { id: 'wsp-terminal', name: 'Terminal', description: 'A shell and nothing else. Starts fastest.', image: 'meridian/terminal:1', cpu: 0.5, memory_mb: 512, gpu: 0, network: 'none', icon: 'terminal', ...open },
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
    proxy_alternates: [],
    load_strategy: 'least_load',
    search_alternate_zones: true,
    alternate_zones: [],
    isolated: false,
    allow_origin_domain: '$request_host$',
    upstream_auth_address: 'https://work.example.org',
    prioritize_static_agents: false,
    proxy_connections: true,
    outage_grace: 86400,
    private_balancer: `balance.${name}.internal:7443`,
    image_policy: 'elsewhere',
    nodes_ready: 2,
    labels: {},
    applied_revision: '',
    applied_at: null,
    drifted: false,
    ...extra,
  };
}

export const zones = () => [
  zone('london', { default: true, alternate_zones: ['virginia'], labels: { site: 'docklands' }, applied_revision: '4f2c1d9', applied_at: new Date(Date.now() - 7.2e6).toISOString(), drifted: true }),
  zone('virginia', { load_strategy: 'round_robin', applied_revision: '4f2c1d9', applied_at: new Date(Date.now() - 7.2e6).toISOString() }),
  zone('singapore', { isolated: true, search_alternate_zones: false, outage_grace: 0, nodes_ready: 0 }),
];

/** Zones as a launch that found no place met them. */
export const tried = [
  { zone: 'london', verdict: 'none of its agents fits' },
  { zone: 'virginia', verdict: 'none of its agents fits' },
  { zone: 'singapore', verdict: 'isolated: it lends nothing' },
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
    gpus_total: 0,
    gpus_used: 0,
    images: [],
    home_storage: null,
    network_modes: [],
    quarantined: [],
    problems: [],
    capacity: { cpu: 0, memory_mb: 0, gpus: 0, cpu_overcommit: 1, memory_overcommit: 1, sessions: null, static: true, labels: {} },
    ...extra,
  });
  const promises = (cpu, memory, labels = {}) => ({ capacity: { cpu, memory_mb: memory, gpus: 0, cpu_overcommit: 1, memory_overcommit: 1, sessions: null, static: true, labels } });
  const reports = { home_storage: 'sized home volume', network_modes: ['none', 'internet'] };
  return [
    node('web-1', 'web', null),
    node('web-2', 'web', null, { state: 'unreachable', last_seen_at: ago(900) }),
    node('proxy-london-1', 'proxy', 'london'),
    node('agent-london-1', 'agent', 'london', { sessions: 2, cpu_total: 8, cpu_used: 4.5, memory_mb_total: 16384, memory_mb_used: 5632, images, ...reports, ...promises(8, 16384, { disk: 'fast' }) }),
    node('agent-london-2', 'agent', 'london', { state: 'draining', sessions: 1, streams: 1, cpu_total: 8, cpu_used: 2, memory_mb_total: 16384, memory_mb_used: 2048, images, ...reports, ...promises(8, 16384) }),
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
    choice: session.choice,
    zones: session.choice?.elsewhere_because
      ? [{ zone: session.choice.zone, verdict: session.choice.elsewhere_because }, { zone: session.zone, verdict: 'chosen' }]
      : [{ zone: session.zone, verdict: 'chosen' }],
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
