import { Button, Stack, Text, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useState } from 'react';
import { useRefusals } from '../../api/deployment';
import type { Refusal } from '../../api/types';
import { DataTable } from '../../ui/DataTable';
import { Empty } from '../../ui/Empty';
import { Facts } from '../../ui/Facts';
import { PageSkeleton } from '../../ui/PageSkeleton';
import { PlacementFacts } from '../../ui/PlacementFacts';
import { ProblemNote } from '../../ui/ProblemNote';
import { ShowMore } from '../../ui/ShowMore';
import { SidePanel } from '../../ui/SidePanel';
import { When } from '../../ui/When';
import { refusalWords } from './refusalWords';

/** Launches that came to nothing, and why. */
export function Refusals() {
  const [user, setUser] = useState('');
  const [asked] = useDebouncedValue(user.trim(), 300);
  const refusals = useRefusals(asked);
  const items = refusals.data?.pages.flatMap((page) => page.items) ?? [];
  const [shown, setShown] = useState<Refusal | null>(null);
  const [open, setOpen] = useState(false);
  return (
    <Stack>
      <TextInput
        label="Of whom"
        placeholder="everybody"
        maw={280}
        value={user}
        onChange={(event) => setUser(event.currentTarget.value)}
      />
      {refusals.isError && <ProblemNote error={refusals.error} onRetry={() => void refusals.refetch()} />}
      {refusals.isPending && <PageSkeleton />}
      {refusals.data && !refusals.isError && items.length === 0 && (
        <Empty title="No launch was refused">Whenever one is, its explanation is kept here.</Empty>
      )}
      {!refusals.isError && items.length > 0 && (
        <DataTable
          caption="Refused launches"
          rows={items}
          rowKey={(refusal) => refusal.id}
          columns={[
            { label: 'Workspace', render: (refusal) => <strong>{refusal.workspace}</strong> },
            { label: 'User', render: (refusal) => refusal.user ?? '—' },
            { label: 'When', render: (refusal) => <When at={refusal.at} /> },
            { label: 'Meant for', render: (refusal) => refusal.zone ?? '—' },
            { label: 'Why', render: refusalWords },
            {
              label: 'Explanation',
              render: (refusal) => (
                <Button
                  size="compact-sm"
                  variant="light"
                  aria-label={`Explain why ${refusal.workspace} was refused`}
                  onClick={() => {
                    setShown(refusal);
                    setOpen(true);
                  }}
                >
                  Explain
                </Button>
              ),
            },
          ]}
        />
      )}
      <ShowMore list={refusals} />
      <SidePanel opened={open} onClose={() => setOpen(false)} title={shown ? `${shown.workspace}, refused` : undefined}>
        {shown && <RefusalDetails refusal={shown} />}
      </SidePanel>
    </Stack>
  );
}

export function RefusalDetails({ refusal }: { refusal: Refusal }) {
  const explained = refusal.zones.length > 0 || refusal.candidates.length > 0;
  return (
    <Stack>
      <Facts
        facts={[
          { name: 'Why', value: refusalWords(refusal) },
          { name: 'User', value: refusal.user ?? '—' },
          { name: 'When', value: <When at={refusal.at} /> },
          { name: 'Meant for', value: refusal.zone ?? '—' },
          { name: 'Request', value: refusal.request_id },
        ]}
      />
      {explained ? (
        <PlacementFacts zones={refusal.zones} counts={refusal.counts} candidates={refusal.candidates} />
      ) : (
        <Text size="sm">It was refused before any zone was asked.</Text>
      )}
    </Stack>
  );
}
