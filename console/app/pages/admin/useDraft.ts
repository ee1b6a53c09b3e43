import { useState } from 'react';

/**
 * A form over something that others change, too. What somebody touched is theirs until it is saved; everything else is as the server says, and
 * follows it while they type.
 */
export function useDraft<Form extends object>(before: Form) {
  const [draft, setDraft] = useState<Partial<Form>>({});
  return {
    /** What the form shows. */
    form: { ...before, ...draft },
    /** What was touched. */
    draft,
    set: (change: Partial<Form>) => setDraft((now) => ({ ...now, ...change })),
    /** To be called when what the form shows now has been saved: what was typed since then stays. */
    saved: () => setDraft((now) => Object.fromEntries(Object.entries(now).filter(([field, value]) => draft[field as keyof Form] !== value)) as Partial<Form>),
    undo: () => setDraft({}),
  };
}
