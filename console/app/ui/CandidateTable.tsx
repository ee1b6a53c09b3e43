import type { Candidate } from '../api/types';
import { DataTable } from './DataTable';

/** The agents that placement looked at, each with its verdict in words. */
export function CandidateTable({ caption, candidates }: { caption: string; candidates: Candidate[] }) {
  return (
    <DataTable
      caption={caption}
      dense
      rows={candidates}
      rowKey={(candidate) => `${candidate.zone}/${candidate.agent}/${candidate.verdict}`}
      columns={[
        { label: 'Zone', render: (candidate) => candidate.zone || '—' },
        { label: 'Agent', render: (candidate) => candidate.agent || '—' },
        { label: 'Verdict', render: (candidate) => candidate.verdict },
      ]}
    />
  );
}
