/** Homes of the mock: in use, at rest, on an agent that is away, and one of a workspace that is no more. */

import { failure } from './failure.mjs';

const ago = (seconds) => new Date(Date.now() - seconds * 1000).toISOString();

function home(id, name, user, extra = {}) {
  return {
    id: `hom-${id}`,
    name,
    workspace_id: `wsp-${name}`,
    user: { id: `usr-${user}`, name: user },
    agent: 'agent-london-1',
    storage: null,
    zone: 'london',
    state: 'free',
    gone: null,
    size_mb: 2048,
    session_id: null,
    created_at: ago(86_400 * 20),
    used_at: ago(7_200),
    ...extra,
  };
}

export class Homes {
  constructor() {
    this.homes = [
      home(1, 'Desktop', 'admin'),
      home(2, 'Terminal', 'admin', { state: 'away', agent: 'agent-virginia-1', zone: 'virginia', size_mb: 512, used_at: ago(86_400 * 3) }),
      home(3, 'Desktop', 'ada', { state: 'in_use', session_id: 'ses-1', used_at: ago(60) }),
      home(5, 'Browser', 'grace', { state: 'held', storage: '/srv/homes', used_at: ago(900) }),
      home(4, 'Accounting 2024, the old one', 'margaret.with.a.name.that.is.rather.long@example.org', { gone: 'workspace', size_mb: 10_240, used_at: ago(86_400 * 90) }),
    ];
  }

  /** Answers what is about homes; false for everything else. */
  answer({ me, method, path, query, send }) {
    const [resource, id] = path.slice(1).split('/').map(decodeURIComponent);
    if (resource !== 'homes') return false;
    if (method === 'GET') return send(200, { items: this.visible(me, query), next: null });
    if (id === undefined) {
      const before = this.homes.length;
      this.homes = this.homes.filter((entry) => entry.gone === null);
      return send(200, { deleted: before - this.homes.length, in_use: 0 });
    }
    const found = this.homes.find((entry) => entry.id === id);
    if (!found) return send(404, failure('not_found', 'There is no such home.', {}));
    this.homes = this.homes.filter((entry) => entry !== found);
    return send(204);
  }

  visible(me, query) {
    if (query.get('all') !== 'true') return this.homes.filter((entry) => entry.user.id === me.id);
    return this.homes
      .filter((entry) => !query.get('user') || entry.user.name === query.get('user'))
      .filter((entry) => !query.get('state') || entry.state === query.get('state'))
      .filter((entry) => query.get('gone') !== 'true' || entry.gone !== null);
  }
}
