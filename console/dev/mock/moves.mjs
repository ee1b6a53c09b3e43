/** People of the mock who are moved from zone to zone: nobody may be moved to an isolated one. */

const ago = (seconds) => new Date(Date.now() - seconds * 1000).toISOString();

export class Moves {
  constructor() {
    this.moves = [
      { id: 'mov-1', kind: 'user', subject: 'grace', to: 'virginia', people: 1, sessions: 1, made_by: 'admin', made_at: ago(90_000), undone_at: null },
      { id: 'mov-2', kind: 'group', subject: 'Guests', to: 'london', people: 12, sessions: 4, made_by: 'admin', made_at: ago(400_000), undone_at: ago(390_000) },
    ];
  }

  /** Answers what is about moves; false for everything else. */
  answer({ me, method, path, body, send }) {
    const [resource, id] = path.slice(1).split('/').map(decodeURIComponent);
    if (resource !== 'reassignments') return false;
    if (method === 'GET') return send(200, { items: this.moves, next: null });
    if (id !== undefined) {
      const move = this.moves.find((each) => each.id === id);
      move.undone_at = ago(0);
      return send(200, move);
    }
    const [kind] = ['user', 'group', 'zone'].filter((each) => each in body);
    const view = { ...outcome(kind, body), id: body.dry_run ? null : `mov-${this.moves.length + 1}` };
    if (!body.dry_run) this.moves.unshift({ ...view, made_by: me.name, made_at: ago(0), undone_at: null });
    return send(200, view);
  }
}

function outcome(kind, { [kind]: subject, to }) {
  const refused = to === 'singapore' ? 1 : 0;
  const person = (name, from, extra = {}) => ({ id: `usr-${name}`, name, from, refused_because: null, stays_because: null, ...extra });
  return {
    kind,
    subject,
    to,
    people: 3,
    refused,
    sessions: 1,
    first_people: [
      person('ada', subject, refused > 0 ? { refused_because: 'Guests may run in london and virginia alone' } : {}),
      person('margaret.with.a.name.that.is.rather.long@example.org', null),
      person('grace', 'london', { stays_because: 'Help desk says london' }),
    ],
    first_sessions: [{ id: 'ses-1', workspace: 'Desktop', user: 'ada', zone: 'london', state: 'running', stays_because: null }],
  };
}
