import { Skeleton, Stack } from '@mantine/core';

export function PageSkeleton() {
  return (
    <Stack aria-busy="true" aria-label="Loading">
      <Skeleton height={30} width={200} />
      <Skeleton height={150} />
      <Skeleton height={150} />
    </Stack>
  );
}
