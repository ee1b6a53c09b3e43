import { Button, Stack } from '@mantine/core';
import { useMoves, useUndoMove } from '../../../api/moves';
import type { Move } from '../../../api/types';
import { DataTable } from '../../../ui/DataTable';
import { ProblemNote } from '../../../ui/ProblemNote';
import { ShowMore } from '../../../ui/ShowMore';
import { When } from '../../../ui/When';

/** The moves that were made, each of which can be taken back. */
export function Moves() {
  const moves = useMoves();
  const undo = useUndoMove();
  const items = moves.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <Stack gap="sm">
      {moves.isError && <ProblemNote error={moves.error} onRetry={() => void moves.refetch()} />}
      {undo.isError && <ProblemNote error={undo.error} />}
      {items.length > 0 && (
        <DataTable
          dense
          caption="Moves that were made"
          rows={items}
          rowKey={(move) => move.id}
          columns={[
            { label: 'Moved', breaks: true, render: (move) => move.subject },
            { label: 'To', render: (move) => move.to },
            { label: 'When', render: (move) => <When at={move.made_at} /> },
            { label: 'Undo', render: (move) => <Undo move={move} pending={undo.isPending} onUndo={() => undo.mutate(move.id)} /> },
          ]}
        />
      )}
      <ShowMore list={moves} />
    </Stack>
  );
}

function Undo({ move, pending, onUndo }: { move: Move; pending: boolean; onUndo: () => void }) {
  if (move.undone_at !== null) return <>undone</>;
  return (
    <Button size="compact-sm" variant="light" disabled={pending} aria-label={`Undo the move of ${move.subject} to ${move.to}`} onClick={onUndo}>
      Undo
    </Button>
  );
}
