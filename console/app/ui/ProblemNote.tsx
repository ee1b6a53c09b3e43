import { Alert, Anchor, Text } from '@mantine/core';
import type { ReactNode } from 'react';
import { asProblem } from '../api/problem';
import { CandidateTable } from './CandidateTable';
import { WarningIcon } from './icons';
import { sentence } from './text';
import classes from './ProblemNote.module.css';

/** An error as a person needs it: what, where, what now, and how placement decided. Announced when it appears. */
export function ProblemNote({ error, onRetry, children }: { error: unknown; onRetry?: () => void; children?: ReactNode }) {
  const { details } = asProblem(error);
  return (
    <Alert role="alert" color="red" variant="light" icon={<WarningIcon />} title={sentence(details.message)}>
      <dl className={classes.facts}>
        {details.hop !== null && <Fact name="Where" value={details.hop} />}
        {details.hint !== null && <Fact name="What to do" value={sentence(details.hint)} />}
      </dl>
      {details.explanation.length > 0 && (
        <CandidateTable caption="What each place said" candidates={details.explanation} />
      )}
      {onRetry && (
        <Anchor component="button" type="button" size="sm" onClick={onRetry}>
          Try again
        </Anchor>
      )}
      {children}
      {details.requestId !== null && details.status >= 500 && (
        <Text size="xs" c="dimmed" mt={6}>
          For your administrator: {details.code}, request {details.requestId}
        </Text>
      )}
    </Alert>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}
