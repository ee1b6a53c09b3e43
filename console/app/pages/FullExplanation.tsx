import { Anchor } from '@mantine/core';
import { useState } from 'react';
import { useRefusal } from '../api/deployment';
import { may } from '../api/permissions';
import { asProblem } from '../api/problem';
import { useMe } from '../api/queries';
import { PageSkeleton } from '../ui/PageSkeleton';
import { ProblemNote } from '../ui/ProblemNote';
import { SidePanel } from '../ui/SidePanel';
import { RefusalDetails } from './admin/Refusals';

/** For administrators: all that placement wrote down about the launch that was refused just now. */
export function FullExplanation({ error }: { error: unknown }) {
  const me = useMe().data ?? null;
  const [open, setOpen] = useState(false);
  const request = asProblem(error).details.requestId;
  const refusal = useRefusal(request ?? '', open && request !== null);
  if (request === null || !may(me, 'sessions:view')) return null;
  return (
    <>
      <Anchor component="button" type="button" size="sm" onClick={() => setOpen(true)}>
        Full explanation
      </Anchor>
      <SidePanel opened={open} onClose={() => setOpen(false)} title="Why it was refused">
        {refusal.isPending && <PageSkeleton />}
        {refusal.isError && <ProblemNote error={refusal.error} onRetry={() => void refusal.refetch()} />}
        {refusal.data === null && <p>Nothing was written down about request {request}: it did not come as far as placement.</p>}
        {refusal.data && <RefusalDetails refusal={refusal.data} />}
      </SidePanel>
    </>
  );
}
