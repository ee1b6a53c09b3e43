import { Skeleton, Stack, Text } from '@mantine/core';
import { useExplanation } from '../api/queries';
import type { Session } from '../api/types';
import { PlacementFacts } from '../ui/PlacementFacts';
import { ProblemNote } from '../ui/ProblemNote';
import { placeOf } from './place';

/** Why a session is where it is: the zone it was meant for, what was chosen, and who was passed over for what. */
export function ExplanationView({ session }: { session: Session }) {
  const explanation = useExplanation(session.id);
  if (explanation.isPending) return <Skeleton height={120} />;
  if (explanation.isError) return <ProblemNote error={explanation.error} onRetry={() => void explanation.refetch()} />;
  const { chosen, counts, candidates, zones } = explanation.data;
  const place = placeOf(session);
  return (
    <Stack gap="sm">
      <Text size="sm">
        {chosen ? (
          <>
            Placed on <strong>{chosen.agent}</strong> in <strong>{chosen.zone}</strong>.
          </>
        ) : (
          'No place was found.'
        )}{' '}
        {place.why}
      </Text>
      {/* A server of the release before names no zones. */}
      <PlacementFacts zones={zones ?? []} counts={counts} candidates={candidates} />
    </Stack>
  );
}
