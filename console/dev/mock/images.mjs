/** Images of the mock: one that is everywhere, one on its way, one that cannot be loaded, and a login. */

import { failure } from './failure.mjs';

const at = (seconds) => new Date(Date.now() + seconds * 1000).toISOString();
const digest = (digit) => `sha256:${digit.repeat(64)}`;

function cell(agent, state, extra = {}) {
  return {
    agent,
    agent_id: `nod-${agent}`,
    reachable: true,
    state,
    digest: null,
    image_id: null,
    size_bytes: null,
    done_bytes: null,
    total_bytes: null,
    reason: null,
    retry_at: null,
    tries: null,
    since: at(-400),
    disk_free_mb: 81_400,
    disk_total_mb: 200_000,
    ...extra,
  };
}

const present = (agent, digit) => cell(agent, 'present', { digest: digest(digit), image_id: digest(digit), size_bytes: 291_000_000 });

export class Images {
  constructor() {
    this.rows = [
      { zone: 'london', reference: 'meridian/desktop:1', wanted: true, workspaces: ['Desktop'], agents: [present('agent-london-1', '3'), present('agent-london-2', '3')], warnings: [] },
      {
        zone: 'london',
        reference: 'registry.example.org/browser:122',
        wanted: true,
        workspaces: ['Browser'],
        agents: [present('agent-london-1', '4'), cell('agent-london-2', 'pulling', { done_bytes: 258_000_000, total_bytes: 615_000_000 })],
        warnings: ['agent-london-2 lacks what other agents of the zone have'],
      },
      {
        zone: 'virginia',
        reference: 'registry.example.org/browser:122',
        wanted: true,
        workspaces: ['Browser'],
        agents: [cell('agent-virginia-1', 'failed', { reachable: false, tries: 4, reason: 'registry.example.org does not answer', retry_at: at(95), disk_free_mb: 3_100 })],
        warnings: ['agent-virginia-1 could not load it: registry.example.org does not answer'],
      },
      { zone: 'virginia', reference: 'meridian/terminal:1', wanted: false, workspaces: ['Terminal'], agents: [cell('agent-virginia-1', 'absent')], warnings: [] },
    ];
    this.logins = { london: [{ host: 'registry.example.org', username: 'puller', set_at: at(-90_000), set_by: 'admin' }] };
  }

  /** Answers what is about images; false for everything else. */
  answer({ method, path, query, body, send }) {
    const [resource, zone, part] = path.slice(1).split('/').map(decodeURIComponent);
    const list = (items) => send(200, { items, next: null });
    if (resource === 'images') return list(this.rows.filter((row) => !query.get('zone') || row.zone === query.get('zone')));
    const of = (reference) => this.rows.find((row) => row.zone === zone && row.reference === reference);
    switch (`${method} ${resource}/${part}`) {
      case 'PUT zones/images': {
        if (!/^[\w./:@-]+[:@][\w.:-]+$/.test(body.reference)) return send(422, failure('invalid', 'This cannot be as it was sent.', { fields: [{ field: 'reference', message: 'must have a tag or a digest' }] }));
        const row = of(body.reference);
        if (row) row.wanted = true;
        else this.rows.unshift({ zone, reference: body.reference, wanted: true, workspaces: [], agents: [cell(`agent-${zone}-1`, 'queued')], warnings: [] });
        return send(204);
      }
      case 'DELETE zones/images':
        of(query.get('reference')).wanted = false;
        return send(204);
      case 'GET zones/registries':
        return list(this.logins[zone] ?? []);
      case 'PUT zones/registries':
        this.logins[zone] = [...(this.logins[zone] ?? []).filter(({ host }) => host !== body.host), { host: body.host, username: body.username, set_at: at(0), set_by: 'admin' }];
        return send(204);
      case 'DELETE zones/registries':
        this.logins[zone] = this.logins[zone].filter(({ host }) => host !== query.get('host'));
        return send(204);
    }
    return false;
  }
}
