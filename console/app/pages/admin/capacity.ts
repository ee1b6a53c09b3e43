import type { Node, NodePatch } from '../../api/types';
import { labelsOf, textOfLabels } from './listText';

/** What an administrator says about an agent, as a form has it; empty: as the agent reports, or no limit. */
export interface CapacityForm {
  cpu_override: number | '';
  memory_mb_override: number | '';
  gpus_override: number | '';
  session_limit: number | '';
  cpu_overcommit: number | '';
  memory_overcommit: number | '';
  static: boolean;
  labels: string;
}

export function capacityForm({ capacity }: Pick<Node, 'capacity'>): CapacityForm {
  return {
    cpu_override: capacity?.cpu_override ?? '',
    memory_mb_override: capacity?.memory_mb_override ?? '',
    gpus_override: capacity?.gpus_override ?? '',
    session_limit: capacity?.sessions ?? '',
    cpu_overcommit: capacity?.cpu_overcommit ?? 1,
    memory_overcommit: capacity?.memory_overcommit ?? 1,
    static: capacity?.static ?? true,
    labels: textOfLabels(capacity?.labels ?? {}),
  };
}

/** Only what changed. Empty takes an override or a limit away; an overcommit that is empty is 1. */
export function capacityPatch(form: CapacityForm, before: CapacityForm): NodePatch {
  const changed = (Object.keys(form) as (keyof CapacityForm)[]).filter((field) => form[field] !== before[field]);
  const value = (field: keyof CapacityForm) => {
    if (field === 'labels') return labelsOf(form.labels) ?? {};
    if (form[field] !== '') return form[field];
    return field === 'cpu_overcommit' || field === 'memory_overcommit' ? 1 : null;
  };
  return Object.fromEntries(changed.map((field) => [field, value(field)]));
}
