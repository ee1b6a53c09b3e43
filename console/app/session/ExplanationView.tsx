import { Skeleton, Stack } from '@mantine/core';
import { useExplanation } from '../api/queries';
import { CandidateTable } from '../ui/CandidateTable';
import { ProblemNote } from '../ui/ProblemNote';
import classes from './ExplanationView.module.css';

/** Why a session is where it is: what was chosen, how many places were passed over for what, and the first of them. */
export function ExplanationView({ sessionId }: { sessionId: string }) {
  const explanation = useExplanation(sessionId);
  if (explanation.isPending) return <Skeleton height={120} />;
  if (explanation.isError) return <ProblemNote error={explanation.error} onRetry={() => void explanation.refetch()} />;
  const { chosen, counts, candidates } = explanation.data;
  const reasons = Object.entries(counts).sort(([, a], [, b]) => b - a);
  return (
    <Stack gap="sm">
      <p className={classes.chosen}>
        {chosen ? (
          <>
            Placed on <strong>{chosen.agent}</strong> in <strong>{chosen.zone}</strong>.
          </>
        ) : (
          'No place was found.'
        )}
      </p>
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
    </Stack>
  );
}
