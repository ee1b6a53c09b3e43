/** Zones, nodes and the whole catalogue of the mock, as administrators see and change them. */

import { fullHouse, nodes, tried, workspaces, zones } from './data.mjs';
import { failure } from './failure.mjs';
import { healthOf } from './health.mjs';

export class Deployment {
  constructor() {
    this.zones = zones();
    this.nodes = nodes();
    this.workspaces = structuredClone(workspaces);
    /** What pages measured. */
    this.measured = [];
    this.refusals = [];
    /** Nodes that were to be removed: what is on them has ended the next time that somebody asks. */
    this.ending = new Set();
  }

  refused(me, workspace, zone, { request_id: requestId }) {
    this.refusals.unshift({
      id: String(this.refusals.length + 1),
      at: new Date().toISOString(),
      user: me.name,
      workspace: workspace.name,
      zone: zone ?? 'london',
      outcome: 'capacity',
      setting: null,
      request_id: requestId,
      zones: tried,
      counts: { '0.5 core short': 1, draining: 1, 'no image yet': 1 },
      candidates: fullHouse.explanation,
    });
  }

  zoneView(zone, host, admin) {
    const probe = `http://${host}/${zone.proxy_path}/probe`;
    const { id, name, zone_name, default: first } = zone;
    return admin ? { ...zone, probe } : { id, name, zone_name, default: first, probe };
  }

  /** Answers what is about the deployment; false for everything else. */
  answer({ me, method, path, query, body, host, send }) {
    const admin = me.role === 'admin';
    const [resource, id, part] = path.slice(1).split('/').map(decodeURIComponent);
    const list = (items) => send(200, { items, next: null });
    const gone = (what) => send(404, failure('not_found', `There is no such ${what}.`, {}));
    switch (`${method} ${resource}${id === undefined ? '' : '/'}${part === undefined ? '' : `/${part}`}`) {
      case 'GET workspaces':
        if (query.get('zone') === 'singapore') return list([]);
        return list(query.get('all') === 'true' ? this.workspaces : this.workspaces.filter((entry) => entry.groups === null || admin));
      case 'POST workspaces': {
        if (body.name === '') return send(422, failure('invalid', 'This cannot be as it was sent.', { fields: [{ field: 'name', message: 'must have 1 to 64 characters' }] }));
        const workspace = { groups: null, zones: null, required_labels: {}, ...body, id: `wsp-${body.name}` };
        this.workspaces.push(workspace);
        return send(201, workspace);
      }
      case 'PATCH workspaces/': {
        const workspace = this.workspaces.find((entry) => entry.id === id);
        if (!workspace) return gone('workspace');
        if (body.groups?.includes('Nobody')) return send(422, failure('invalid', 'This cannot be as it was sent.', { fields: [{ field: 'groups', message: 'there is no group Nobody' }] }));
        return send(200, Object.assign(workspace, body));
      }
      case 'DELETE workspaces/':
        this.workspaces = this.workspaces.filter((entry) => entry.id !== id);
        return send(204);
      case 'GET zones':
        return list(this.zones.map((zone) => this.zoneView(zone, host, admin)));
      case 'POST zones': {
        if (this.zones.some((zone) => zone.zone_name === body.zone_name)) return send(409, failure('taken', 'There is a zone of that name.', { fields: [{ field: 'zone_name', message: 'is taken' }] }));
        const zone = { ...this.zones[0], labels: {}, alternate_zones: [], ...body, id: `zon-${body.zone_name}`, name: body.zone_name, default: false, applied_revision: '', applied_at: null, drifted: false };
        this.zones.push(zone);
        return send(201, this.zoneView(zone, host, admin));
      }
      case 'POST zones/':
        this.measured.push(body.zones);
        return send(200, { zone: 'london' });
      case 'PATCH zones/': {
        const zone = this.zones.find((each) => each.id === id);
        if (!zone) return gone('zone');
        Object.assign(zone, body, { name: body.zone_name ?? zone.name, drifted: zone.applied_revision !== '' });
        return send(200, this.zoneView(zone, host, admin));
      }
      case 'DELETE zones/': {
        const zone = this.zones.find((each) => each.id === id);
        const working = this.nodes.filter((node) => node.zone === zone.zone_name && node.state === 'ready');
        if (working.length > 0) {
          for (const node of working) node.state = 'draining';
          return send(202, { state: 'draining', nodes: working.length, sessions: 2 });
        }
        this.zones = this.zones.filter((each) => each !== zone);
        return send(200, { state: 'deleted', nodes: 0, sessions: 0 });
      }
      case 'GET zones//requirements': {
        const zone = this.zones.find((each) => each.id === id);
        return zone ? send(200, requirements(zone)) : gone('zone');
      }
      case 'PATCH nodes/': {
        const node = this.nodes.find((each) => each.id === id);
        const { session_limit: sessions, ...rest } = body;
        if (rest.cpu_overcommit > 100) return send(422, failure('invalid', 'This cannot be as it was sent.', { fields: [{ field: 'cpu_overcommit', message: 'must be from 0.1 to 100' }] }));
        Object.assign(node.capacity, rest, sessions === undefined ? {} : { sessions });
        return send(200, node);
      }
      case 'GET nodes/':
        return list(this.zones.map((zone) => healthOf(zone, this.nodes)));
      case 'GET nodes':
        return list(this.nodes);
      case 'POST nodes/':
        return send(201, { ...body, token: 'mjt_0192f0c15a7e7c3b9a513a8e2b1c4d5e', expires_in_s: 3600 });
      case 'POST nodes//drain':
      case 'POST nodes//undrain': {
        const node = this.nodes.find((each) => each.id === id);
        node.state = part === 'drain' ? 'draining' : 'ready';
        return send(204);
      }
      case 'POST nodes//remove': {
        const node = this.nodes.find((each) => each.id === id);
        const answers = node.state !== 'unreachable';
        if (answers && node.role === 'web') return send(409, failure('node_answers', `The Web App node ${node.name} answers, and serves whoever comes to it`, { hint: 'Stop it on its machine; some seconds later it can be removed' }));
        if (answers && node.sessions + node.streams > 0 && !this.ending.has(node)) {
          if (query.get('drain') !== 'true') return send(409, failure('node_in_use', `${node.name} answers and has ${node.sessions} sessions`, { hint: 'Drain it and end its sessions first' }));
          node.state = 'draining';
          this.ending.add(node);
          return send(202, { state: 'draining', sessions: node.sessions, streams: node.streams });
        }
        this.nodes = this.nodes.filter((each) => each !== node);
        return send(204);
      }
      case 'GET refusals': {
        const [user, request] = [query.get('user'), query.get('request_id')];
        return list(this.refusals.filter((each) => (!user || each.user === user) && (!request || each.request_id === request)));
      }
      case 'GET explain':
        return this.explain(query, me, send);
    }
    return false;
  }

  explain(query, me, send) {
    const workspace = this.workspaces.find((entry) => entry.id === query.get('workspace'));
    const user = query.get('user') ?? me.name;
    if (user === 'nobody') return send(404, failure('not_found', 'There is no such user.', {}));
    const hidden = workspace.groups !== null && user !== 'admin' ? `it is for members of ${workspace.groups.join(', ')}` : null;
    send(200, {
      user,
      workspace: workspace.name,
      hidden_because: hidden,
      refusal: null,
      choice: { zone: query.get('zone') ?? 'london', because: query.get('zone') ? 'you chose it' : 'it is the nearest to you, as measured', elsewhere_because: null, distance_ms: null, meant_distance_ms: null },
      zones: [{ zone: 'london', verdict: 'asked' }, { zone: 'virginia', verdict: 'asked' }, { zone: 'singapore', verdict: 'isolated: it lends nothing' }],
      counts: { fits: 1, draining: 1, '0.5 core short': 1 },
      candidates: [
        { zone: 'london', agent: 'agent-london-1', verdict: 'fits' },
        { zone: 'london', agent: 'agent-london-2', verdict: 'draining' },
        { zone: 'virginia', agent: 'agent-virginia-1', verdict: '0.5 core short' },
      ],
      next: null,
    });
  }
}

function requirements(zone) {
  const own = `${zone.zone_name}.example.org`;
  const warnings = zone.nodes_ready < 2 ? [{ code: 'few_agent', field: null, message: 'no agent of this zone can take work; with fewer than 2, none may fail or be upgraded' }] : [];
  if (zone.default) warnings.push({ code: 'upstream_internal', field: 'upstream_auth_address', message: 'web.internal is an internal name or address; it should be the primary balancer’s public name' });
  return {
    zone: zone.zone_name,
    dns: [
      { name: 'work.example.org', points_to: 'the primary balancer, or the Web App nodes' },
      { name: own, points_to: 'the balancer in front of this zone’s proxies, or this zone’s proxies' },
    ],
    certificates: [
      { name: 'work.example.org', held_by: 'the Web App nodes' },
      { name: own, held_by: 'this zone’s proxies' },
    ],
    warnings,
  };
}
