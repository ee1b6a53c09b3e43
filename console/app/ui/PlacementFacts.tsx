import { Stack } from '@mantine/core';
import type { ReactNode } from 'react';
import type { Candidate, TriedZone } from '../api/types';
import { CandidateTable } from './CandidateTable';
import { DataTable } from './DataTable';
import classes from './PlacementFacts.module.css';

interface Props {
  zones: TriedZone[];
  /** How many agents said what. */
  counts: Record<string, number>;
  candidates: Candidate[];
  /** Where more candidates come from, if there are more. */
  children?: ReactNode;
}

/** How placement decides, or decided: zone by zone, the agents by reason, and the first of them by name. */
export function PlacementFacts({ zones, counts, candidates, children }: Props) {
  const reasons = Object.entries(counts).sort(([, a], [, b]) => b - a);
  return (
    <Stack gap="sm">
      {zones.length > 0 && (
        <DataTable
          dense
          caption="Zones, in the order they are asked"
          rows={zones}
          rowKey={(tried) => tried.zone}
          columns={[
            { label: 'Zone', render: (tried) => tried.zone },
            { label: 'Verdict', render: (tried) => tried.verdict },
          ]}
        />
      )}
      {reasons.length > 0 && (
        <ul className={classes.counts} aria-label="Verdicts">
          {reasons.map(([verdict, count]) => (
            <li key={verdict}>
              <strong>{count}</strong> {verdict}
            </li>
          ))}
        </ul>
      )}
      {candidates.length > 0 && <CandidateTable caption="Candidates" candidates={candidates} />}
      {children}
    </Stack>
  );
}
